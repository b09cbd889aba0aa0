"""Serve the gallery: the pages for looking at images, for uploading them, and for operators."""

from importlib.resources import files

import functions_framework

from shared_lib import web
from shared_lib.errors import NotFound
from shared_lib.runtime import Runtime

PAGE = "index.html"  # it has all views
FOLDER = files("shared_lib.web") / "gallery"
IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}  # a name contains the hash of the bytes
HTML = (FOLDER / PAGE).read_bytes()
ASSETS = web.Assets([FOLDER], IMMUTABLE)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self' {store}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
)


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="serve_gallery",
        route=web.Route("GET", "/", "/ops/", "/ops", "/gallery/{asset}"),
        docs=web.Docs(tag="service", summary="Serve the gallery", is_hidden=True),
        inputs=web.Inputs(path={"asset": str}, url_path=True),
        success=web.Success(bytes),
        errors=web.Errors(web.ImageError),
        needs="nothing",
    )
)
def main(rt: Runtime, *, url_path: str, asset: str = "") -> web.Content:
    if url_path == "/ops":
        return web.Content(b"", "text/plain", {"Location": "/ops/"}, status=308)
    if not asset:
        store = f"{rt.settings.store.public_endpoint_url or rt.settings.store.endpoint_url}".rstrip("/")
        headers = {"Content-Security-Policy": POLICY.format(store=store), "Cache-Control": "no-cache"}
        return web.Content(HTML, "text/html", headers)
    if asset == PAGE:
        raise NotFound(f"There is nothing at /gallery/{asset}", code="no_such_path")
    return ASSETS.find(asset)
