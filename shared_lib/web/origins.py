"""Which web pages may use the API: those of its own host, and of the origins that HTTP_CORS_ALLOW_ORIGINS names."""

from urllib.parse import urlsplit

import flask

from shared_lib.errors import Forbidden
from shared_lib.settings import Http

_SAFE_METHODS = ("GET", "HEAD")
_EXPOSED = "Accept-Ranges, Content-Range, ETag, Link, Location, Retry-After, X-Request-Id, X-Total-Count"


def check_page(request: flask.Request, http: Http) -> None:
    """
    Raises Forbidden if a page of another site sent this that is not named, going by what its browser adds.

    CORS alone would keep the answer from the page, but not the request from us: a form or an `<img>` needs nobody's
    leave. Following a link is no page's doing.
    """
    if _is_foreign(request, http):
        raise Forbidden(
            "A page of another site may not do this, unless HTTP_CORS_ALLOW_ORIGINS names its origin",
            code="origin_not_allowed",
        )


def _is_foreign(request: flask.Request, http: Http) -> bool:
    """Sec-Fetch-Site is missing where there is no TLS, but for localhost; Origin comes with every write."""
    origin = request.headers.get("Origin")
    if _is_named(origin, http):
        return False
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        is_link = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method in _SAFE_METHODS
        return site not in ("same-origin", "none") and not is_link
    own = {request.headers.get("X-Forwarded-Host"), urlsplit(http.public_base_url or "").netloc} - {None, ""}
    return bool(origin and own) and urlsplit(origin or "").netloc not in own


def _is_named(origin: str | None, http: Http) -> bool:
    return "*" in http.cors_allow_origins or origin in http.cors_allow_origins


def allow_origin(request: flask.Request, response: flask.Response, http: Http) -> None:
    """Cross-origin resource sharing, for origins that were named. Never with credentials."""
    if not http.cors_allow_origins:
        return
    if "*" not in http.cors_allow_origins:
        response.vary.add("Origin")
    origin = request.headers.get("Origin")
    if not origin or not _is_named(origin, http):
        return
    response.headers["Access-Control-Allow-Origin"] = "*" if "*" in http.cors_allow_origins else origin
    response.headers["Access-Control-Expose-Headers"] = _EXPOSED
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "")
        response.headers["Access-Control-Allow-Headers"] = request.headers.get(
            "Access-Control-Request-Headers", "Content-Type"
        )
        response.headers["Access-Control-Max-Age"] = "600"
