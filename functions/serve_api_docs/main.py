"""GET /openapi.json: serve the API's description, and Swagger UI for it, from this host alone."""

import json
import mimetypes
from importlib.resources import files

import functions_framework

from shared_lib import openapi
from shared_lib.errors import NotFound
from shared_lib.http import Content, endpoint
from shared_lib.runtime import Runtime

ASSETS = {each.name: each for each in (files("flask_swagger_ui") / "dist").iterdir()}
PAGE = b"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Image processing API</title>
<link rel="stylesheet" href="swagger-ui.css"><link rel="icon" href="favicon-32x32.png"></head>
<body><div id="ui"></div><script src="swagger-ui-bundle.js"></script><script src="start.js"></script></body></html>"""
SCRIPT = b"""SwaggerUIBundle({url: "../openapi.json", dom_id: "#ui", deepLinking: true, tryItOutEnabled: true})"""
POLICY = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "max-age=3600",
}


@functions_framework.http
@endpoint("GET", "/openapi.json", "/api-docs", "/api-docs/", "/api-docs/{asset}", documented=False)
def main(_rt: Runtime, *, path: str, asset: str = "") -> Content:
    if path == "/openapi.json":
        return Content(json.dumps(openapi.load()).encode(), "application/json")
    if path == "/api-docs":
        return Content(b"", "text/plain", {"Location": "/api-docs/"}, status=308)
    page = {"": PAGE, "index.html": PAGE, "start.js": SCRIPT}.get(asset)
    if page is None and asset not in ASSETS:
        raise NotFound(f"There is nothing at {path}", code="no_such_path")
    media_type = mimetypes.guess_type(asset)[0] or "text/html"
    return Content(page or ASSETS[asset].read_bytes(), media_type, POLICY)
