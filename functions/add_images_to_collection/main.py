"""Add images to a collection."""

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.collections import ImageReferences
from shared_lib.web.schemas import CollectionId, Message, MetaMessage

ADDED = MetaMessage(meta=Message(message="Images added to collection"))


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="add_images_to_collection",
        route=web.Route("POST", "/api/v1/collections/{uuid}/relationships/images"),
        docs=web.Docs(
            tag="collections",
            summary="Add images to a collection",
            description="Adds all of them or none. An image that is in another collection moves.",
        ),
        inputs=web.Inputs(path={"uuid": CollectionId}, body=ImageReferences),
        success=web.Success(MetaMessage, example=ADDED),
        errors=web.Errors(web.CollectionErrors, [web.NO_COLLECTION]),
        needs="collections:write",
    )
)
def main(rt: Runtime, *, uuid: CollectionId, body: ImageReferences) -> MetaMessage:
    rt.collections.add_images(uuid, body.uuids)
    return ADDED
