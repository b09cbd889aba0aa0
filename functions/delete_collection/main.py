"""DELETE /api/v1/collections/{uuid}: delete an empty collection."""

import functions_framework

from shared_lib.http import endpoint
from shared_lib.images import CollectionId, Message, MetaMessage
from shared_lib.runtime import Runtime


@functions_framework.http
@endpoint(
    "DELETE",
    "/api/v1/collections/{uuid}",
    returns=MetaMessage,
    refusals={404: "Collection not found", 409: "Cannot delete non-empty collection"},
)
def main(rt: Runtime, *, uuid: CollectionId) -> MetaMessage:
    rt.collections.delete(uuid)
    return MetaMessage(meta=Message(message="Collection deleted successfully"))
