"""DELETE /api/v1/images/{uuid}: delete an image, at any moment of its processing.

It is gone for every caller at once. What the store cannot remove now, `reconcile_images` removes later.
"""

import functions_framework

from shared_lib.runtime import Runtime
from shared_lib.web import NO_IMAGE, endpoint
from shared_lib.web.schemas import ImageId, Message


@functions_framework.http
@endpoint(
    "DELETE",
    "/api/v1/images/{uuid}",
    returns=Message,
    example=Message(message="Image deleted"),
    refusals=[NO_IMAGE],
)
def main(rt: Runtime, *, uuid: ImageId) -> Message:
    rt.images.delete(uuid)
    rt.workflow.try_to_sweep(uuid)
    return Message(message="Image deleted")
