"""Serve the API's description, and Swagger UI for it, from this host alone."""

from importlib.resources import files

import functions_framework

from shared_lib import web
from shared_lib.runtime import Runtime
from shared_lib.web import openapi

POLICY = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "max-age=3600",
}
ASSETS = web.Assets([files("flask_swagger_ui") / "dist", files("shared_lib.web") / "api_docs"], POLICY)
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
        return openapi.render(anonymous=rt.settings.auth.mode == "anonymous")
    if url_path in REDIRECTED:
        return web.redirect("/api-docs/")
    return ASSETS.find(asset)
