"""GET /api/v1/images/{uuid}/renditions/{name}: send a rendition's bytes.

They may be kept and asked for again by their ETag: they change only when another recipe is given the same name.
"""

from typing import Annotated

import functions_framework
from pydantic import Field

from shared_lib.errors import NotFound
from shared_lib.http import Content, endpoint
from shared_lib.images import ImageId
from shared_lib.pipeline.recipe import RenditionName
from shared_lib.runtime import Runtime
from shared_lib.storage import Download

MISSING = "The image has no rendition of that name"


@functions_framework.http
@endpoint(
    "GET",
    "/api/v1/images/{uuid}/renditions/{name}",
    returns=bytes,
    refusals=[NotFound(MISSING, code="rendition_not_found")],
)
def main(rt: Runtime, *, uuid: ImageId, name: Annotated[RenditionName, Field(examples=["thumbnail"])]) -> Content:
    missing = NotFound(MISSING, code="rendition_not_found")
    found = rt.images.locate(uuid, name)
    if found is None:
        raise missing

    def send() -> Download:
        download = rt.gallery.open(found.key)
        if download is None:
            raise missing
        return download

    headers = {"ETag": found.etag, "Content-Length": f"{found.size}", "Cache-Control": "no-cache"}
    return Content(send, found.content_type, headers)
