"""Delete an empty collection."""

import functions_framework

from shared_lib import web
from shared_lib.errors import Conflict
from shared_lib.runtime import Runtime
from shared_lib.web.schemas import CollectionId, Message, MetaMessage

DELETED = MetaMessage(meta=Message(message="Collection deleted successfully"))
# Worded as in the repository, which raises it.
NOT_EMPTY = Conflict(
    "Cannot delete non-empty collection",
    code="collection_not_empty",
    details=[{"message": "Remove all images from the collection before deleting it"}],
)


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="delete_collection",
        route=web.Route("DELETE", "/api/v1/collections/{uuid}"),
        docs=web.Docs(tag="collections", summary="Delete an empty collection"),
        inputs=web.Inputs(path={"uuid": CollectionId}),
        success=web.Success(MetaMessage, example=DELETED),
        errors=web.Errors(web.CollectionErrors, [web.NO_COLLECTION, NOT_EMPTY]),
        needs="collections:write",
    )
)
def main(rt: Runtime, *, uuid: CollectionId) -> MetaMessage:
    rt.collections.delete(uuid)
    return DELETED
