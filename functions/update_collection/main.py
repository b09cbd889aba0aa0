"""Update a collection."""

import functions_framework
from pydantic import BaseModel, Field

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.collections import CollectionEnvelope, show_collection
from shared_lib.web.schemas import CollectionId, CollectionName, Description


class CollectionChanges(BaseModel):
    name: CollectionName = Field(default_factory=str)  # never read: an absent field stays unchanged
    description: Description | None = None


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="update_collection",
        route=web.Route("PATCH", "/api/v1/collections/{uuid}"),
        docs=web.Docs(
            tag="collections",
            summary="Rename a collection, or change its description",
            description='An absent field stays unchanged. `"description": null` clears it.',
        ),
        inputs=web.Inputs(path={"uuid": CollectionId}, body=CollectionChanges),
        success=web.Success(CollectionEnvelope),
        errors=web.Errors(web.CollectionErrors, [web.NO_COLLECTION]),
        needs="collections:write",
    )
)
def main(rt: Runtime, *, uuid: CollectionId, body: CollectionChanges) -> CollectionEnvelope:
    collection = rt.collections.update(uuid, body.model_dump(exclude_unset=True))
    return CollectionEnvelope(data=show_collection(collection))
