"""List collections."""

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.collections import CollectionList, CollectionListMeta, CollectionListQuery, show_collection


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="list_collections",
        route=web.Route("GET", "/api/v1/collections"),
        docs=web.Docs(tag="collections", summary="List collections, newest first"),
        inputs=web.Inputs(query=CollectionListQuery),
        success=web.Success(CollectionList, headers=web.PAGE_HEADERS),
        errors=web.Errors(web.CollectionErrors),
        needs="collections:read",
    )
)
def main(rt: Runtime, *, query: CollectionListQuery) -> web.Reply:
    page = rt.collections.page(query.to_query())
    meta = CollectionListMeta(pagination=query.paginate(page))
    shown = CollectionList(data=[*map(show_collection, page.items)], meta=meta)
    return web.Reply(shown, pagination=meta.pagination)
