"""Delete an empty collection."""

import functions_framework

from shared_lib import web
from shared_lib.domain.images import CollectionNotEmpty
from shared_lib.runtime import Runtime
from shared_lib.web.schemas import CollectionId, Message, MetaMessage

DELETED = MetaMessage(meta=Message(message="Collection deleted successfully"))


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="delete_collection",
        route=web.Route("DELETE", "/api/v1/collections/{uuid}"),
        docs=web.Docs(tag="collections", summary="Delete an empty collection"),
        inputs=web.Inputs(path={"uuid": CollectionId}),
        success=web.Success(MetaMessage, example=DELETED),
        errors=web.Errors(web.CollectionErrors, [web.NO_COLLECTION, CollectionNotEmpty()]),
        needs="collections:write",
    )
)
def main(rt: Runtime, *, uuid: CollectionId) -> MetaMessage:
    rt.collections.delete(uuid)
    return DELETED
