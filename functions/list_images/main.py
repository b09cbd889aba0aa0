"""GET /api/v1/images: list images, newest first.

Only succeeded ones unless `status` says otherwise. Each carries its thumbnail as a data URL unless `include=none`.
"""

from typing import Annotated, Literal

import functions_framework
from pydantic import Field

from shared_lib.domain.images import VISIBLE, Status
from shared_lib.runtime import Runtime
from shared_lib.web import Reply, endpoint
from shared_lib.web.schemas import Image, PageParameters, show_image

Statuses = Annotated[str, Field(pattern=f"^(all|({'|'.join(VISIBLE)})(,({'|'.join(VISIBLE)}))*)$")]


class Query(PageParameters):
    sort_by: Literal["createdAt"] = "createdAt"
    status: Statuses = Field(
        default=Status.SUCCEEDED.value, description="One, several by comma (`pending,failed`), or `all`."
    )
    include: Literal["imageData", "none"] = "imageData"


@functions_framework.http
@endpoint(
    "GET",
    "/api/v1/images",
    returns=list[Image],
    headers={
        "X-Total-Count": "How many match in all; a search counts 10,000 at most, and shows no more.",
        "Link": "The pages first, prev, next and last.",
    },
)
def main(rt: Runtime, *, query: Query) -> Reply:
    statuses = VISIBLE if query.status == "all" else [Status(name) for name in query.status.split(",")]
    page = rt.images.page(query.to_query("created_at"), statuses=statuses, previews=query.include == "imageData")
    return Reply([show_image(each) for each in page.items], query=query, total=page.total)
