"""List collections."""

from typing import Literal

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.schemas import ApiModel, Collection, PageParameters, Pagination, show_collection


class Query(PageParameters):
    sort_by: Literal["createdAt", "updatedAt"] = "createdAt"


class CollectionListMeta(ApiModel):
    pagination: Pagination


class CollectionList(ApiModel):
    data: list[Collection]
    meta: CollectionListMeta


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="list_collections",
        route=web.Route("GET", "/api/v1/collections"),
        docs=web.Docs(tag="collections", summary="List collections, newest first"),
        inputs=web.Inputs(query=Query),
        success=web.Success(CollectionList),
        errors=web.Errors(web.CollectionErrors),
        access=web.PUBLIC,
    )
)
def main(rt: Runtime, *, query: Query) -> web.Reply:
    page = rt.collections.page(query.to_query())
    meta = CollectionListMeta(pagination=query.paginate(page.total))
    shown = CollectionList(data=[show_collection(each) for each in page.items], meta=meta)
    return web.Reply(shown, query=query, total=page.total)
