"""Get an image."""

from typing import Literal

import functions_framework
from pydantic import BaseModel, Field

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.schemas import Image, ImageId, show_image


class Query(BaseModel):
    include: Literal["location"] | None = Field(
        default=None, description="Include where the picture was taken, if it is known and the operator allows it."
    )


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="get_image",
        route=web.Route("GET", "/api/v1/images/{uuid}"),
        docs=web.Docs(tag="images", summary="Get an image"),
        inputs=web.Inputs(path={"uuid": ImageId}, query=Query),
        success=web.Success(Image),
        errors=web.Errors(web.ImageError, [web.NO_IMAGE]),
        needs="images:read",
    )
)
def main(rt: Runtime, *, uuid: ImageId, query: Query) -> Image:
    return show_image(rt.image_queries.get(uuid), with_location=query.include == "location")
