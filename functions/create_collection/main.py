"""POST /api/v1/collections: create a collection."""

from uuid import uuid4

import functions_framework
from pydantic import BaseModel

from shared_lib.runtime import Runtime
from shared_lib.web import Reply, endpoint
from shared_lib.web.schemas import CollectionEnvelope, CollectionName, Description, show_collection


class NewCollection(BaseModel):
    name: CollectionName
    description: Description | None = None


@functions_framework.http
@endpoint(
    "POST",
    "/api/v1/collections",
    returns=CollectionEnvelope,
    status=201,
    headers={"Location": "Where the collection can be read."},
)
def main(rt: Runtime, *, body: NewCollection) -> Reply:
    collection = rt.collections.create(uuid4(), body.name, body.description)
    location = {"Location": f"/api/v1/collections/{collection.uuid}"}
    return Reply(CollectionEnvelope(data=show_collection(collection)), headers=location)
