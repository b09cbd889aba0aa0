"""Get a collection with a page of its images."""

from typing import Literal

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web import paging, schemas


class Query(paging.PageParameters):
    sort_by: Literal["createdAt", "filename", "status"] = "createdAt"


class CollectionWithImages(schemas.Collection):
    images: list[schemas.Image]
    pagination: paging.Pagination


class CollectionPage(schemas.ApiModel):
    data: CollectionWithImages


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="get_collection",
        route=web.Route("GET", "/api/v1/collections/{uuid}"),
        docs=web.Docs(tag="collections", summary="Get a collection with a page of its images"),
        inputs=web.Inputs(path={"uuid": schemas.CollectionId}, query=Query),
        success=web.Success(CollectionPage, headers=web.PAGE_HEADERS),
        errors=web.Errors(web.CollectionErrors, [web.NO_COLLECTION]),
        needs="collections:read",
    )
)
def main(rt: Runtime, *, uuid: schemas.CollectionId, query: Query) -> web.Reply:
    collection, page = rt.collections.show(uuid, query.to_query(uuid))
    place, images = query.paginate(page, uuid), [*map(schemas.show_image, page.items)]
    shown = CollectionWithImages(**dict(schemas.show_collection(collection)), images=images, pagination=place)
    return web.Reply(CollectionPage(data=shown), pagination=place)
