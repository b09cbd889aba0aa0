"""PATCH /api/v1/collections/{uuid}: rename a collection, or change its description.

An absent field is left as it is; `"description": null` clears it.
"""

import functions_framework
from pydantic import BaseModel

from shared_lib.domain.images import CollectionEnvelope, CollectionId, CollectionName, Description
from shared_lib.runtime import Runtime
from shared_lib.web import NO_COLLECTION, endpoint


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
    return CollectionEnvelope(data=rt.collections.update(uuid, body.model_dump(exclude_unset=True)))
