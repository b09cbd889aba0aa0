"""Tell what is stored about an image."""

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.privacy import ImagePrivacy, show_image
from shared_lib.web.schemas import ImageId

ABOUT = "Objects, rows, fields that may tell something about a person, and when each goes. It shows no values."


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="get_image_privacy",
        route=web.Route("GET", "/api/v1/images/{uuid}/privacy"),
        docs=web.Docs(tag="images", summary="Get what is stored about an image", description=ABOUT),
        inputs=web.Inputs(path={"uuid": ImageId}),
        success=web.Success(ImagePrivacy),
        errors=web.Errors(web.ImageError, [web.NO_IMAGE]),
        needs="images:read",
    )
)
def main(rt: Runtime, *, uuid: ImageId) -> ImagePrivacy:
    return show_image(rt.privacy.describe_image(uuid), rt.settings)
