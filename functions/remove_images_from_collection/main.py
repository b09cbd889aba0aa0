"""DELETE /api/v1/collections/{uuid}/relationships/images: take images out of a collection.

Images that are not in this collection stay where they are.
"""

import functions_framework

from shared_lib.runtime import Runtime
from shared_lib.web import NO_COLLECTION, endpoint
from shared_lib.web.schemas import CollectionId, ImageReferences, Message, MetaMessage


@functions_framework.http
@endpoint(
    "DELETE",
    "/api/v1/collections/{uuid}/relationships/images",
    returns=MetaMessage,
    refusals=[NO_COLLECTION],
    example=MetaMessage(meta=Message(message="Image removed from collection")),
)
def main(rt: Runtime, *, uuid: CollectionId, body: ImageReferences) -> MetaMessage:
    rt.collections.remove_images(uuid, body.uuids)
    return MetaMessage(meta=Message(message="Image removed from collection"))
