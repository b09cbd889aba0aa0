"""What a handler answers becomes a response: JSON by the declared model, pages with links, headers on everything."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import flask
from pydantic import TypeAdapter
from werkzeug.exceptions import PreconditionFailed

from shared_lib.settings import Http
from shared_lib.storage.buckets import Download
from shared_lib.web.openapi import Declaration
from shared_lib.web.origins import allow_origin
from shared_lib.web.schemas import PageParameters

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Reply:
    """An answer with something beside its body: headers, or its place in a list of pages."""

    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    query: PageParameters | None = None
    total: int | None = None
    """How many there are in all; with `query` it gives the page its Link and X-Total-Count."""


@dataclass(frozen=True)
class Content:
    """An answer that is no JSON."""

    data: bytes | Callable[[range | None], Download]
    """
    A function is called only if its bytes are to be sent: not for HEAD, nor for a caller that has them already. It is
    told which of them, None for all; then `headers` hold their ETag, and in Content-Length their number.
    """
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


def render(request: flask.Request, answer: Any, declaration: Declaration, http: Http) -> flask.Response:  # noqa: ANN401  a reply
    if isinstance(answer, Content):
        return _send(request, answer)
    reply = answer if isinstance(answer, Reply) else Reply(answer)
    data = TypeAdapter(declaration.returns).dump_json(reply.body, by_alias=True)
    response = flask.Response(data, declaration.status, dict(reply.headers), mimetype="application/json")
    if reply.query is not None and reply.total is not None:
        response.headers["X-Total-Count"] = str(reply.total)
        response.headers["Link"] = _link(request, reply.query, reply.total, http)
    return response


def _send(request: flask.Request, content: Content) -> flask.Response:
    at_hand = content.data if isinstance(content.data, bytes) else None
    response = flask.Response(at_hand, content.status, dict(content.headers), mimetype=content.media_type)
    if "ETag" in content.headers:
        ranged = callable(content.data) and _asks_for_one_range(request)
        response.make_conditional(request, accept_ranges=ranged, complete_length=response.content_length)
    if response.status_code == PreconditionFailed.code:
        raise PreconditionFailed("It is not the one that If-Match asks for")
    if callable(content.data) and request.method != "HEAD" and response.status_code in (content.status, 206):
        part = response.content_range
        download = content.data(range(part.start, part.stop) if part.start is not None and part.stop else None)
        response.response = download
        response.content_length = download.size
    return response


def _asks_for_one_range(request: flask.Request) -> bool:
    """Whether to answer with a part. Several at once, or what is no range of bytes, may be ignored (RFC 9110, 14.2)."""
    asked = request.range if request.method == "GET" else None
    return asked is not None and asked.units == "bytes" and len(asked.ranges) == 1


def _link(request: flask.Request, query: PageParameters, total: int, http: Http) -> str:
    """The pages around this one, as RFC 8288 has it. Never by the request's Host, which anyone may have written."""
    last = max(query.paginate(total).total_pages, 1)
    pages = {"first": 1, "prev": query.page - 1, "next": query.page + 1, "last": last}
    base = (http.public_base_url or "").rstrip("/") + request.path
    return ", ".join(
        f'<{base}?{urlencode(request.args.to_dict() | {"page": page})}>; rel="{relation}"'
        for relation, page in pages.items()
        if 1 <= page <= last
    )


def dress(request: flask.Request, response: flask.Response, request_id: str, http: Http) -> flask.Response:
    """What every answer has: its id, security headers, CORS."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-Id"] = request_id
    if http.public_base_url and http.public_base_url.startswith("https:"):
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    allow_origin(request, response, http)
    return response
