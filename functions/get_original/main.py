"""Download an original."""

import functions_framework

from shared_lib import web
from shared_lib.errors import NotFound
from shared_lib.runtime import Runtime
from shared_lib.storage.buckets import Download
from shared_lib.web.schemas import ImageId

ABOUT = """The bytes as they were uploaded, with all metadata in them, under the image's filename. `Range`, with
`If-Range`, returns one range of bytes. Only of an image that was processed: 404 `image_pending` or `image_failed` of
any other."""


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="get_original",
        route=web.Route("GET", "/api/v1/images/{uuid}/original"),
        docs=web.Docs(tag="images", summary="Download the original", description=ABOUT),
        inputs=web.Inputs(path={"uuid": ImageId}),
        success=web.Success(bytes),
        errors=web.Errors(web.ImageError, [web.NO_IMAGE]),
        needs="images:read",
        cache=web.Cache.REVALIDATE,
    )
)
def main(rt: Runtime, *, uuid: ImageId) -> web.Content:
    found = rt.originals.locate(uuid)

    def send(span: range | None) -> Download:
        if download := rt.gallery.stream(found.key, span):
            return download
        raise NotFound("The image's original is missing", code="original_missing")

    headers = web.save_as(found.download_name)
    return web.Content(send, found.content_type, headers, version=web.Version(found.etag, found.size))
