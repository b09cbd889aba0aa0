"""GET /api/v1/collections/{uuid}: show a collection and its images, a page of them at a time."""

from typing import Literal

import functions_framework

from shared_lib.domain.images import Collection, CollectionId, Image, PageQuery, Pagination, View
from shared_lib.runtime import Runtime
from shared_lib.web import NO_COLLECTION, endpoint

COLUMNS = {"createdAt": "created_at", "filename": "filename", "status": "status"}


class Query(PageQuery):
    sort_by: Literal["createdAt", "filename", "status"] = "createdAt"


class CollectionWithImages(Collection):
    images: list[Image]
    pagination: Pagination


class CollectionPage(View):
    data: CollectionWithImages


@functions_framework.http
@endpoint(
    "GET",
    "/api/v1/collections/{uuid}",
    returns=CollectionPage,
    refusals=[NO_COLLECTION],
)
def main(rt: Runtime, *, uuid: CollectionId, query: Query) -> CollectionPage:
    collection, images, total = rt.collections.show(uuid, query, sort_by=COLUMNS[query.sort_by])
    return CollectionPage(
        data=CollectionWithImages(**dict(collection), images=images, pagination=query.place_in(total))
    )
