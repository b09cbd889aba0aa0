"""Remove images from a collection."""

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.collections import ImageReferences
from shared_lib.web.schemas import CollectionId, Message, MetaMessage

REMOVED = MetaMessage(meta=Message(message="Image removed from collection"))


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="remove_images_from_collection",
        route=web.Route("DELETE", "/api/v1/collections/{uuid}/relationships/images"),
        docs=web.Docs(
            tag="collections",
            summary="Remove images from a collection",
            description="Images that are not in this collection stay where they are.",
        ),
        inputs=web.Inputs(path={"uuid": CollectionId}, body=ImageReferences),
        success=web.Success(MetaMessage, example=REMOVED),
        errors=web.Errors(web.CollectionErrors, [web.NO_COLLECTION]),
        needs="collections:write",
    )
)
def main(rt: Runtime, *, uuid: CollectionId, body: ImageReferences) -> MetaMessage:
    rt.collections.remove_images(uuid, body.uuids)
    return REMOVED
