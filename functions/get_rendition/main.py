"""GET /api/v1/images/{uuid}/renditions/{name}: send a rendition's bytes.

They may be kept and asked for again by their ETag: they change only when another recipe is given the same name. A
`Range` of bytes, with `If-Range` if need be, is answered with that part. One yet to be made is 404 `rendition_pending`.
"""

from typing import Annotated

import functions_framework
from pydantic import Field

from shared_lib.errors import NotFound
from shared_lib.pipeline.recipe import RenditionName
from shared_lib.repositories.renditions import MISSING
from shared_lib.runtime import Runtime
from shared_lib.storage.buckets import Download
from shared_lib.web import Content, endpoint
from shared_lib.web.schemas import ImageId


@functions_framework.http
@endpoint(
    "GET",
    "/api/v1/images/{uuid}/renditions/{name}",
    returns=bytes,
    refusals=[NotFound(MISSING, code="rendition_not_found")],
)
def main(rt: Runtime, *, uuid: ImageId, name: Annotated[RenditionName, Field(examples=["thumbnail"])]) -> Content:
    found = rt.renditions.find(uuid, name)

    def send(span: range | None) -> Download:
        download = rt.gallery.stream(found.key, span)
        if download is None:
            raise NotFound(MISSING, code="rendition_not_found")
        return download

    headers = {"ETag": found.etag, "Content-Length": f"{found.size}", "Accept-Ranges": "bytes"}
    headers |= {"Cache-Control": "no-cache", "Cross-Origin-Resource-Policy": "cross-origin"}
    headers["Content-Disposition"] = f'inline; filename="{uuid}-{name}.{found.content_type.partition("/")[2]}"'
    return Content(send, found.content_type, headers)
