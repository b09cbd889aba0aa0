"""Get a collection with a page of its images."""

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.collections import CollectionPage, CollectionPageQuery, CollectionWithImages, show_collection
from shared_lib.web.schemas import CollectionId, show_image


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="get_collection",
        route=web.Route("GET", "/api/v1/collections/{uuid}"),
        docs=web.Docs(tag="collections", summary="Get a collection with a page of its images"),
        inputs=web.Inputs(path={"uuid": CollectionId}, query=CollectionPageQuery),
        success=web.Success(CollectionPage, headers=web.PAGE_HEADERS),
        errors=web.Errors(web.CollectionErrors, [web.NO_COLLECTION]),
        needs="collections:read",
    )
)
def main(rt: Runtime, *, uuid: CollectionId, query: CollectionPageQuery) -> web.Reply:
    collection, page = rt.collections.show(uuid, query.to_query(uuid))
    place, images = query.paginate(page, uuid), [*map(show_image, page.items)]
    shown = CollectionWithImages(**dict(show_collection(collection)), images=images, pagination=place)
    return web.Reply(CollectionPage(data=shown), pagination=place)
