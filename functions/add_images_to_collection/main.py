"""POST /api/v1/collections/{uuid}/relationships/images: put images into a collection.

All of them or none. An image that is in another collection moves.
"""

import functions_framework

from shared_lib.runtime import Runtime
from shared_lib.web import NO_COLLECTION, endpoint
from shared_lib.web.schemas import CollectionId, ImageReferences, Message, MetaMessage


@functions_framework.http
@endpoint(
    "POST",
    "/api/v1/collections/{uuid}/relationships/images",
    returns=MetaMessage,
    refusals=[NO_COLLECTION],
    example=MetaMessage(meta=Message(message="Images added to collection")),
)
def main(rt: Runtime, *, uuid: CollectionId, body: ImageReferences) -> MetaMessage:
    rt.collections.add_images(uuid, body.uuids)
    return MetaMessage(meta=Message(message="Images added to collection"))
