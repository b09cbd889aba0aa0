"""Serve the API's description, and Swagger UI for it, from this host alone."""

import json
import mimetypes
from importlib.resources import files

import functions_framework

from shared_lib import web
from shared_lib.errors import NotFound
from shared_lib.runtime import Runtime

FOLDERS = (files("flask_swagger_ui") / "dist", files("shared_lib.web") / "api_docs")  # the last has priority
ASSETS = {each.name: each for folder in FOLDERS for each in folder.iterdir()}
POLICY = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "max-age=3600",
}
REDIRECTED = ("/api-docs", "/api/v1", "/api/v1/")  # where people look for the docs


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="serve_api_docs",
        route=web.Route("GET", "/openapi.json", "/api-docs/", "/api-docs/{asset}", *REDIRECTED),
        docs=web.Docs(tag="service", summary="Serve the API's description", is_hidden=True),
        inputs=web.Inputs(path={"asset": str}, url_path=True),
        success=web.Success(bytes),
        errors=web.Errors(web.ImageError),
        needs="nothing",
    )
)
def main(rt: Runtime, *, url_path: str, asset: str = "index.html") -> web.Content:
    if url_path == "/openapi.json":
        description = web.openapi.describe(anonymous=rt.settings.auth.mode == "anonymous")
        return web.Content(json.dumps(description).encode(), "application/json")
    if url_path in REDIRECTED:
        return web.Content(b"", "text/plain", {"Location": "/api-docs/"}, status=308)
    if asset not in ASSETS:
        raise NotFound(f"There is nothing at {url_path}", code="no_such_path")
    media_type = mimetypes.guess_type(asset)[0] or "application/octet-stream"
    return web.Content(ASSETS[asset].read_bytes(), media_type, POLICY)
