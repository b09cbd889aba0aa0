"""GET /api/v1/images/{uuid}: show one image."""

from typing import Literal

import functions_framework
from pydantic import BaseModel, Field

from shared_lib.domain.images import Image, ImageId
from shared_lib.runtime import Runtime
from shared_lib.web import NO_IMAGE, endpoint


class Query(BaseModel):
    include: Literal["location"] | None = Field(
        default=None, description="Where it was taken, if the image says so and the operator allows it."
    )


@functions_framework.http
@endpoint(
    "GET",
    "/api/v1/images/{uuid}",
    returns=Image,
    refusals=[NO_IMAGE],
)
def main(rt: Runtime, *, uuid: ImageId, query: Query) -> Image:
    return rt.images.get(uuid, location=query.include == "location")
