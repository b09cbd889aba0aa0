"""List images."""

from typing import Annotated, Literal

import functions_framework
from pydantic import Field

from shared_lib import web
from shared_lib.domain.images import VISIBLE, ImageStatus
from shared_lib.runtime import Runtime
from shared_lib.web.paging import PageParameters
from shared_lib.web.schemas import Image, show_image

Statuses = Annotated[str, Field(pattern=f"^(all|({'|'.join(VISIBLE)})(,({'|'.join(VISIBLE)}))*)$")]
ABOUT = """Only succeeded images, unless `status` says otherwise. Each has its thumbnail as a data URL, unless
`include=none`."""


class Query(PageParameters):
    sort_by: Literal["createdAt"] = "createdAt"
    status: Statuses = Field(ImageStatus.SUCCEEDED.value, description="One or more, separated by commas, or `all`.")
    include: Literal["imageData", "none"] = "imageData"


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="list_images",
        route=web.Route("GET", "/api/v1/images"),
        docs=web.Docs(tag="images", summary="List images, newest first", description=ABOUT),
        inputs=web.Inputs(query=Query),
        success=web.Success(list[Image], headers=web.PAGE_HEADERS),
        errors=web.Errors(web.ImageError),
        needs="images:read",
    )
)
def main(rt: Runtime, *, query: Query) -> web.Reply:
    statuses = VISIBLE if query.status == "all" else [ImageStatus(name) for name in query.status.split(",")]
    page = rt.image_queries.page(query.to_query(), statuses=statuses, thumbnails=query.include == "imageData")
    return web.Reply([show_image(each) for each in page.items], pagination=query.paginate(page))
