"""PATCH /api/v1/collections/{uuid}: rename a collection, or change its description.

An absent field is left as it is; `"description": null` clears it.
"""

import functions_framework
from pydantic import BaseModel

from shared_lib.runtime import Runtime
from shared_lib.web import NO_COLLECTION, endpoint
from shared_lib.web.schemas import CollectionEnvelope, CollectionId, CollectionName, Description, show_collection


class CollectionChanges(BaseModel):
    name: CollectionName = ""
    description: Description | None = None


@functions_framework.http
@endpoint(
    "PATCH",
    "/api/v1/collections/{uuid}",
    returns=CollectionEnvelope,
    refusals=[NO_COLLECTION],
)
def main(rt: Runtime, *, uuid: CollectionId, body: CollectionChanges) -> CollectionEnvelope:
    collection = rt.collections.update(uuid, body.model_dump(exclude_unset=True))
    return CollectionEnvelope(data=show_collection(collection))
