"""List images."""

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web.listing import ImageListQuery
from shared_lib.web.schemas import Image, show_image

ABOUT = """Only succeeded images, unless `status` says otherwise. Each has its thumbnail as a data URL, unless
`include=none`. With `uuids`, those of these images that there are, in this order and whatever their status: to ask what
became of them. With `sha256`, images that have these bytes: to find duplicates before an upload."""


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="list_images",
        route=web.Route("GET", "/api/v1/images"),
        docs=web.Docs(tag="images", summary="List images, newest first", description=ABOUT),
        inputs=web.Inputs(query=ImageListQuery),
        success=web.Success(list[Image], headers=web.PAGE_HEADERS),
        errors=web.Errors(web.ImageError),
        needs="images:read",
    )
)
def main(rt: Runtime, *, query: ImageListQuery) -> web.Reply:
    if query.named:
        named = rt.image_queries.find(query.named, thumbnails=query.has_thumbnails)
        return web.Reply([show_image(each) for each in named])
    if query.digests:
        equal = rt.image_queries.find_equal(query.digests, query.statuses, thumbnails=query.has_thumbnails)
        return web.Reply([show_image(each) for each in equal])
    page = rt.image_queries.page(query.to_query(), statuses=query.statuses, thumbnails=query.has_thumbnails)
    return web.Reply([show_image(each) for each in page.items], pagination=query.paginate(page))
