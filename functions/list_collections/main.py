"""GET /api/v1/collections: list collections, newest first."""

from typing import Literal

import functions_framework

from shared_lib.domain.images import Collection, PageQuery, Pagination, View
from shared_lib.runtime import Runtime
from shared_lib.web import Reply, endpoint

COLUMNS = {"createdAt": "created_at", "updatedAt": "updated_at"}


class Query(PageQuery):
    sort_by: Literal["createdAt", "updatedAt"] = "createdAt"


class Meta(View):
    pagination: Pagination


class CollectionList(View):
    data: list[Collection]
    meta: Meta


@functions_framework.http
@endpoint("GET", "/api/v1/collections", returns=CollectionList)
def main(rt: Runtime, *, query: Query) -> Reply:
    collections, total = rt.collections.page(query, sort_by=COLUMNS[query.sort_by])
    page = CollectionList(data=collections, meta=Meta(pagination=query.place_in(total)))
    return Reply(page, query=query, total=total)
