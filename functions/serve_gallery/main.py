"""Serve the gallery: the pages for looking at images, for uploading them, and for operators."""

from importlib.resources import files

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime

PAGE = "index.html"  # it has all views
FOLDER = files("shared_lib.web") / "gallery"
IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}  # a name contains the hash of the bytes
HTML = (FOLDER / PAGE).read_bytes()
ASSETS = web.Assets([FOLDER], IMMUTABLE, hidden=PAGE)
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
        return web.redirect("/ops/")
    if not asset:
        policy = POLICY.format(store=rt.settings.store.public_url.rstrip("/"))
        return web.Content(HTML, "text/html", {"Content-Security-Policy": policy, "Cache-Control": "no-cache"})
    return ASSETS.find(asset)
