"""GET /openapi.json: serve the API's description, and Swagger UI for it, from this host alone."""

import json
import mimetypes
from importlib.resources import files

import functions_framework

from shared_lib.errors import NotFound
from shared_lib.runtime import Runtime
from shared_lib.web import Content, endpoint, openapi

# Of two files with one name, the last folder's is sent.
FOLDERS = (files("flask_swagger_ui") / "dist", files("shared_lib.web") / "api_docs")
ASSETS = {each.name: each for folder in FOLDERS for each in folder.iterdir()}
POLICY = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "max-age=3600",
}
LEAD_HERE = ("/", "/api-docs", "/api/v1", "/api/v1/")  # where people look first


@functions_framework.http
@endpoint("GET", "/openapi.json", "/api-docs/", "/api-docs/{asset}", *LEAD_HERE, documented=False)
def main(_rt: Runtime, *, path: str, asset: str = "index.html") -> Content:
    if path == "/openapi.json":
        return Content(json.dumps(openapi.load()).encode(), "application/json")
    if path in LEAD_HERE:
        return Content(b"", "text/plain", {"Location": "/api-docs/"}, status=308)
    if asset not in ASSETS:
        raise NotFound(f"There is nothing at {path}", code="no_such_path")
    media_type = mimetypes.guess_type(asset)[0] or "application/octet-stream"
    return Content(ASSETS[asset].read_bytes(), media_type, POLICY)
