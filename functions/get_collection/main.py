"""GET /api/v1/collections/{uuid}: show a collection and its images, a page of them at a time."""

from typing import Literal

import functions_framework

from shared_lib.domain.images import SortColumn
from shared_lib.runtime import Runtime
from shared_lib.web import NO_COLLECTION, endpoint, schemas

COLUMNS: dict[str, SortColumn] = {"createdAt": "created_at", "filename": "filename", "status": "status"}


class Query(schemas.PageParameters):
    sort_by: Literal["createdAt", "filename", "status"] = "createdAt"


class CollectionWithImages(schemas.Collection):
    images: list[schemas.Image]
    pagination: schemas.Pagination


class CollectionPage(schemas.ApiModel):
    data: CollectionWithImages


@functions_framework.http
@endpoint(
    "GET",
    "/api/v1/collections/{uuid}",
    returns=CollectionPage,
    refusals=[NO_COLLECTION],
)
def main(rt: Runtime, *, uuid: schemas.CollectionId, query: Query) -> CollectionPage:
    collection, page = rt.collections.show(uuid, query.to_query(COLUMNS[query.sort_by]))
    images, pagination = [schemas.show_image(each) for each in page.items], query.paginate(page.total)
    shown = schemas.show_collection(collection)
    return CollectionPage(data=CollectionWithImages(**dict(shown), images=images, pagination=pagination))
