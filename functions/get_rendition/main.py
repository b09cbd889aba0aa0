"""Download a rendition."""

import functions_framework

from shared_lib import web
from shared_lib.repositories.renditions import RenditionNotFound
from shared_lib.runtime import Runtime
from shared_lib.storage.buckets import Download
from shared_lib.web.schemas import ImageId, RenditionName

ABOUT = """Cache it and revalidate with its ETag: a name's bytes change only when the name is given another recipe.
`Range`, with `If-Range`, returns one range of bytes. A rendition that isn't made yet is 404 `rendition_pending`."""


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="get_rendition",
        route=web.Route("GET", "/api/v1/images/{uuid}/renditions/{name}"),
        docs=web.Docs(tag="images", summary="Download a rendition", description=ABOUT),
        inputs=web.Inputs(path={"uuid": ImageId, "name": RenditionName}),
        success=web.Success(bytes),
        errors=web.Errors(web.ImageError, [RenditionNotFound()]),
        needs="images:read",
        is_embeddable=True,
        cache=web.Cache.REVALIDATE,
    )
)
def main(rt: Runtime, *, uuid: ImageId, name: RenditionName) -> web.Content:
    found = rt.renditions.find(uuid, name)

    def send(span: range | None) -> Download:
        if found.key and (download := rt.gallery.stream(found.key, span)):
            return download
        raise RenditionNotFound

    headers = {"Content-Disposition": f'inline; filename="{uuid}-{name}.{found.extension}"'}
    return web.Content(
        found.thumbnail or send, found.content_type, headers, version=web.Version(found.etag, found.size)
    )
