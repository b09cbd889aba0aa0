"""GET /api/v1/images/{uuid}: show one image."""

from typing import Literal

import functions_framework
from pydantic import BaseModel, Field

from shared_lib.runtime import Runtime
from shared_lib.web import NO_IMAGE, endpoint
from shared_lib.web.schemas import Image, ImageId, show_image


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
    return show_image(rt.images.get(uuid), with_location=query.include == "location")
