"""Update an image."""

import functions_framework
from pydantic import BaseModel, ConfigDict, Field

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.schemas import Description, Filename, Image, ImageId, show_image


class ImageChanges(BaseModel):
    model_config = ConfigDict(extra="forbid")

    filename: Filename = Field(default_factory=str)  # never read: an absent field stays unchanged
    description: Description | None = None


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="update_image",
        route=web.Route("PATCH", "/api/v1/images/{uuid}"),
        docs=web.Docs(
            tag="images",
            summary="Rename an image, or change its description",
            description='A JSON merge patch: an absent field stays unchanged. `"description": null` clears it.',
        ),
        inputs=web.Inputs(path={"uuid": ImageId}, body=ImageChanges),
        success=web.Success(Image),
        errors=web.Errors(web.ImageError, [web.NO_IMAGE]),
        needs="images:write",
    )
)
def main(rt: Runtime, *, uuid: ImageId, body: ImageChanges) -> Image:
    rt.images.update(uuid, body.model_dump(exclude_unset=True))
    return show_image(rt.image_queries.get(uuid))
