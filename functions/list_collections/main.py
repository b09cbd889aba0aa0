"""GET /api/v1/collections: list collections, newest first."""

from typing import Literal

import functions_framework

from shared_lib.domain.images import SortColumn
from shared_lib.runtime import Runtime
from shared_lib.web import Reply, endpoint
from shared_lib.web.schemas import ApiModel, Collection, PageParameters, Pagination, show_collection

COLUMNS: dict[str, SortColumn] = {"createdAt": "created_at", "updatedAt": "updated_at"}


class Query(PageParameters):
    sort_by: Literal["createdAt", "updatedAt"] = "createdAt"


class Meta(ApiModel):
    pagination: Pagination


class CollectionList(ApiModel):
    data: list[Collection]
    meta: Meta


@functions_framework.http
@endpoint("GET", "/api/v1/collections", returns=CollectionList)
def main(rt: Runtime, *, query: Query) -> Reply:
    page = rt.collections.page(query.to_query(COLUMNS[query.sort_by]))
    collections = [show_collection(each) for each in page.items]
    shown = CollectionList(data=collections, meta=Meta(pagination=query.paginate(page.total)))
    return Reply(shown, query=query, total=page.total)
