"""Create a collection."""

from uuid import uuid4

import functions_framework
from pydantic import BaseModel

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.collections import CollectionEnvelope, show_collection
from shared_lib.web.schemas import CollectionName, Description


class NewCollection(BaseModel):
    name: CollectionName
    description: Description | None = None


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="create_collection",
        route=web.Route("POST", "/api/v1/collections"),
        docs=web.Docs(tag="collections", summary="Create a collection"),
        inputs=web.Inputs(body=NewCollection),
        success=web.Success(CollectionEnvelope, status=201, headers={"Location": "The collection's path."}),
        errors=web.Errors(web.CollectionErrors),
        needs="collections:write",
    )
)
def main(rt: Runtime, *, body: NewCollection) -> web.Reply:
    collection = rt.collections.create(uuid4(), body.name, body.description)
    location = {"Location": f"/api/v1/collections/{collection.uuid}"}
    return web.Reply(CollectionEnvelope(data=show_collection(collection)), headers=location)
