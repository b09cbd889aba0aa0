"""Turn what a handler returns into a response: JSON by the declared model, pages with links, or content."""

import gzip
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import flask
from werkzeug.datastructures import Headers
from werkzeug.exceptions import PreconditionFailed
from werkzeug.http import unquote_etag

from shared_lib.settings import Http
from shared_lib.validation import adapt
from shared_lib.web.endpoint import Endpoint
from shared_lib.web.origins import allow_origin
from shared_lib.web.paging import Pagination, describe_page

if TYPE_CHECKING:
    from shared_lib.storage.buckets import Download

_MIN_COMPRESSED = 1_400  # bytes: less fits into one packet
_FAST = 4  # of gzip's levels from 1 to 9: 1 ms for a page of 100 images

_CONDITIONS = frozenset(
    f"HTTP_{name}" for name in ("IF_MATCH", "IF_NONE_MATCH", "IF_MODIFIED_SINCE", "IF_UNMODIFIED_SINCE", "RANGE")
)
"""The headers that conditions and ranges are in, as WSGI names them. Without RANGE, IF_RANGE means nothing."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    # What users uploaded may be shown on this origin. In a sandbox, an SVG runs and sends nothing.
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Reply:
    """A JSON body with headers, or with its place in a list of pages."""

    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    pagination: Pagination | None = None
    """Makes the headers of a page."""


@dataclass(frozen=True)
class Version:
    """Identifies the bytes of a content, so that callers can revalidate it and request ranges of it."""

    etag: str
    """With its quotes."""
    size: int
    """bytes"""


@dataclass(frozen=True)
class Content:
    """A body that is not JSON."""

    data: "bytes | Callable[[range | None], Download | bytes]"
    """The bytes, or a function that opens them. It is called only if bytes are sent: not for HEAD, nor if the caller's
    copy is current. Its argument is the range of bytes, None for all. It needs a `version`.
    """
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    version: Version | None = None
    encodings: Mapping[str, bytes] = field(default_factory=dict)
    """Content-Encoding → the data in it, best first. Only for bytes without a version."""


def redirect(path: str) -> Content:
    """Send the caller to another path of this host, for good."""
    return Content(b"", "text/plain", {"Location": path}, status=308)


def save_as(filename: str) -> dict[str, str]:
    """Return the header by which a browser saves a content under this name (RFC 6266).

    What is not ASCII is also given percent-encoded (RFC 8187), which every browser prefers. No name can end the header,
    or lead to another folder.
    """
    name = re.sub(r"[/\\\x00-\x1f\x7f]", "_", filename)
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().replace("%", "_")
    extended = {} if name == plain else {"filename*": f"UTF-8''{quote(name, safe='!#$&+^`|')}"}
    headers = Headers()
    headers.set("Content-Disposition", "attachment", filename=plain, **extended)
    return {"Content-Disposition": headers["Content-Disposition"]}


@dataclass(frozen=True)
class Deferred:
    """A content that is made only if it is sent: not for HEAD, nor if the caller's copy is current."""

    make: Callable[[], Content]
    etag: str
    """With its quotes."""
    media_type: str | None
    """None if that is not known before it is made."""
    headers: Mapping[str, str] = field(default_factory=dict)


def render(request: flask.Request, result: Any, endpoint: Endpoint, http: Http) -> flask.Response:  # noqa: ANN401  any model
    """Turn what a handler returned into a response: a Content, a Deferred, a Reply, or the body alone."""
    if isinstance(result, Content):
        response = _send(request, result)
    elif isinstance(result, Deferred):
        response = _send_unmade(request, result) or _send(request, result.make())
    else:
        reply = result if isinstance(result, Reply) else Reply(result)
        response = _render_json(request, reply, endpoint, http)
    response.headers.setdefault("Cache-Control", endpoint.cache)
    if endpoint.needs != "nothing":
        response.vary.update(("Authorization", "X-API-Key"))
    if endpoint.is_embeddable:
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


def _render_json(request: flask.Request, reply: Reply, endpoint: Endpoint, http: Http) -> flask.Response:
    """Compress what was read.

    No page of another site has a caller's credentials sent, so none can learn by sizes what a response has (BREACH).
    """
    data = adapt(endpoint.success.model).dump_json(reply.body, by_alias=True)
    response = flask.Response(data, endpoint.success.status, dict(reply.headers), mimetype="application/json")
    if endpoint.route.method == "GET" and len(data) >= _MIN_COMPRESSED:
        response.vary.add("Accept-Encoding")
        if request.accept_encodings["gzip"]:
            _encode(response, "gzip", gzip.compress(data, _FAST, mtime=0))
    if reply.pagination:
        response.headers.update(describe_page(request, reply.pagination, http))
    return response


def _send(request: flask.Request, content: Content) -> flask.Response:
    data = content.data if isinstance(content.data, bytes) else None
    response = flask.Response(data, content.status, dict(content.headers), mimetype=content.media_type)
    if content.encodings:
        response.vary.add("Accept-Encoding")
        accepted = next((each for each in content.encodings if request.accept_encodings[each]), None)
        if accepted:
            _encode(response, accepted, content.encodings[accepted])
    if content.version:
        _apply_conditions(request, response, content.version)
    if callable(content.data) and request.method != "HEAD" and response.status_code in (content.status, 206):
        part = response.content_range
        opened = content.data(range(part.start, part.stop) if part.start is not None and part.stop else None)
        if isinstance(opened, bytes):
            response.data = opened
        else:
            response.response = opened
            response.content_length = opened.size
    return response


def _encode(response: flask.Response, encoding: str, data: bytes) -> None:
    response.data = data
    response.content_encoding = encoding


def _send_unmade(request: flask.Request, deferred: Deferred) -> flask.Response | None:
    """Return the response that needs no content, or None. Raises PreconditionFailed."""
    response = flask.Response(None, 200, dict(deferred.headers), mimetype=deferred.media_type)
    response.headers["ETag"] = deferred.etag
    if deferred.media_type is None:
        del response.headers["Content-Type"]
    _make_conditional(request, response)
    if response.status_code == 304:
        return response
    if request.method != "HEAD":
        return None
    response.response = iter(())  # or a length of 0 would be sent
    del response.headers["Content-Length"]
    return response


def _apply_conditions(request: flask.Request, response: flask.Response, version: Version) -> None:
    """Make the response a 304 or a 206 if the request's conditions or range call for it. Raises PreconditionFailed."""
    response.headers.update({"ETag": version.etag, "Content-Length": f"{version.size}", "Accept-Ranges": "bytes"})
    _make_conditional(request, response, accept_ranges=_requests_one_range(request), complete_length=version.size)


def _make_conditional(request: flask.Request, response: flask.Response, **ranges: Any) -> None:  # noqa: ANN401  Werkzeug's
    """Check the conditions, and then the range, in the order of RFC 9110, 13.2.2. Werkzeug begins with the range."""
    if _CONDITIONS.isdisjoint(request.environ):
        return
    etag, _ = unquote_etag(response.headers["ETag"])
    if request.if_match and not request.if_match.contains(etag):
        raise PreconditionFailed("The current version doesn't match If-Match")
    if request.if_none_match.contains_weak(etag):
        response.status_code = 304
        return
    response.make_conditional({**request.environ, "HTTP_IF_MATCH": "", "HTTP_IF_NONE_MATCH": ""}, **ranges)
    del response.headers["Date"]  # the server adds it


def _requests_one_range(request: flask.Request) -> bool:
    """Return whether to send a part. Several ranges, or a unit other than bytes, may be ignored (RFC 9110, 14.2)."""
    requested = request.range if request.method == "GET" else None
    return requested is not None and requested.units == "bytes" and len(requested.ranges) == 1


def add_common_headers(
    request: flask.Request, response: flask.Response, request_id: str, http: Http, *, is_shared: bool = False
) -> flask.Response:
    """Add the headers that every response carries: request ID, security, CORS. The edge may share a response."""
    # In one go: `setdefault` would look through all headers for each.
    own = {name.lower() for name, _ in response.headers}
    response.headers.extend({name: value for name, value in _HEADERS.items() if name.lower() not in own})
    response.headers["X-Request-Id"] = request_id
    if http.public_base_url and http.public_base_url.startswith("https:"):
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    allow_origin(request, response, http, is_shared=is_shared)
    return response
