"""Get a collection with a page of its images."""

from typing import Literal

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web import schemas


class Query(schemas.PageParameters):
    sort_by: Literal["createdAt", "filename", "status"] = "createdAt"


class CollectionWithImages(schemas.Collection):
    images: list[schemas.Image]
    pagination: schemas.Pagination


class CollectionPage(schemas.ApiModel):
    data: CollectionWithImages


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="get_collection",
        route=web.Route("GET", "/api/v1/collections/{uuid}"),
        docs=web.Docs(tag="collections", summary="Get a collection with a page of its images"),
        inputs=web.Inputs(path={"uuid": schemas.CollectionId}, query=Query),
        success=web.Success(CollectionPage),
        errors=web.Errors(web.CollectionErrors, [web.NO_COLLECTION]),
        access=web.PUBLIC,
    )
)
def main(rt: Runtime, *, uuid: schemas.CollectionId, query: Query) -> CollectionPage:
    collection, page = rt.collections.show(uuid, query.to_query())
    images, pagination = [schemas.show_image(each) for each in page.items], query.paginate(page.total)
    shown = schemas.show_collection(collection)
    return CollectionPage(data=CollectionWithImages(**dict(shown), images=images, pagination=pagination))
