"""Delete an image."""

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.schemas import ImageId, Message

DELETED = Message(message="Image deleted")


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="delete_image",
        route=web.Route("DELETE", "/api/v1/images/{uuid}"),
        docs=web.Docs(
            tag="images",
            summary="Delete an image",
            description="Works at any moment of its processing. The image is gone for every caller at once. Objects "
            "that the store can't remove now are removed later.",
        ),
        inputs=web.Inputs(path={"uuid": ImageId}),
        success=web.Success(Message, example=DELETED),
        errors=web.Errors(web.ImageError, [web.NO_IMAGE]),
        needs="images:write",
    )
)
def main(rt: Runtime, *, uuid: ImageId) -> Message:
    rt.images.delete(uuid)
    rt.finisher.try_to_clean_up(uuid)
    return DELETED
