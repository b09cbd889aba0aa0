"""DELETE /api/v1/collections/{uuid}: delete an empty collection."""

import functions_framework

from shared_lib.errors import Conflict
from shared_lib.runtime import Runtime
from shared_lib.web import NO_COLLECTION, endpoint
from shared_lib.web.schemas import CollectionId, Message, MetaMessage

# As the repository says it.
TITLE = "Cannot delete non-empty collection"
DETAIL = "Remove all images from the collection before deleting it"


@functions_framework.http
@endpoint(
    "DELETE",
    "/api/v1/collections/{uuid}",
    returns=MetaMessage,
    refusals=[NO_COLLECTION, Conflict(TITLE, code="collection_not_empty", details=[{"message": DETAIL}])],
    example=MetaMessage(meta=Message(message="Collection deleted successfully")),
)
def main(rt: Runtime, *, uuid: CollectionId) -> MetaMessage:
    rt.collections.delete(uuid)
    return MetaMessage(meta=Message(message="Collection deleted successfully"))
