"""Decide which web pages may use the API: those of its own host, and of HTTP_CORS_ALLOW_ORIGINS."""

from urllib.parse import urlsplit

import flask

from shared_lib.errors import Forbidden
from shared_lib.settings import Http

_SAFE_METHODS = ("GET", "HEAD")
_EXPOSED = (
    "Accept-Ranges, Content-Disposition, Content-Range, ETag, Link, Location, RateLimit, RateLimit-Policy, "
    "Retry-After, Server-Timing, X-Next-Cursor, X-Request-Id, X-Total-Count, X-Total-Count-Relation, X-Trace-Id"
)


def check_page(request: flask.Request, http: Http, *, is_read: bool) -> None:
    """Raise Forbidden if a page of another site sent the request, by the headers that its browser adds.

    CORS alone would only hide the response from the page. The request itself would still be carried out: forms, frames
    and `<img>` need no permission. Following a link is allowed if that only reads.
    """
    if _is_foreign(request, http, is_read=is_read):
        raise Forbidden(
            "A page of another site may not do this, unless its origin is in HTTP_CORS_ALLOW_ORIGINS",
            code="origin_not_allowed",
        )


def _is_foreign(request: flask.Request, http: Http, *, is_read: bool) -> bool:
    """Without TLS, Sec-Fetch-Site is sent only to localhost. Origin is sent with every write."""
    origin = request.headers.get("Origin")
    if _is_allowed(origin, http):
        return False
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none") and not (is_read and _is_link(request))
    own = {request.headers.get("X-Forwarded-Host"), urlsplit(http.public_base_url or "").netloc} - {None, ""}
    return bool(origin and own) and (origin or "").partition("://")[2] not in own


def _is_link(request: flask.Request) -> bool:
    """Return whether the browser shows the response in a tab of its own, and not in a frame of that page."""
    headers = request.headers
    is_navigation = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    return is_navigation and request.method in _SAFE_METHODS


def _is_allowed(origin: str | None, http: Http) -> bool:
    return "*" in http.cors_allow_origins or origin in http.cors_allow_origins


def allow_origin(request: flask.Request, response: flask.Response, http: Http, *, is_shared: bool = False) -> None:
    """Add the headers of cross-origin resource sharing for allowed origins. Never allows credentials.

    They are the same with and without Origin as far as they can be: caches may give an `<img>`'s copy to a script. A
    response that is shared also lists the origins for the edge, which gives its copy to all of them (nginx.conf).
    """
    if not http.cors_allow_origins:
        return
    origin = request.headers.get("Origin")
    if "*" in http.cors_allow_origins:
        response.headers["Access-Control-Allow-Origin"] = "*"
    else:
        response.vary.add("Origin")
        if is_shared:
            response.headers["X-Accel-Origins"] = ",".join(http.cors_allow_origins)
        if origin and _is_allowed(origin, http):
            response.headers["Access-Control-Allow-Origin"] = origin
        elif not is_shared:
            return
    response.headers["Access-Control-Expose-Headers"] = _EXPOSED
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "")
        response.headers["Access-Control-Allow-Headers"] = request.headers.get(
            "Access-Control-Request-Headers", "Content-Type"
        )
        response.headers["Access-Control-Max-Age"] = "600"
