"""Errors that the server itself responds with, before it knows which endpoint the request is for."""

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvicorn._types import HTTPScope

Headers = list[tuple[bytes, bytes]]

MAX_HEAD = 32 * 1024  # bytes of a request's line and headers, as nginx allows
MAX_TARGET = 8 * 1024  # bytes of path and query

_COLLECTIONS = re.compile(r"/api/v1/collections(/|$)")
_HOST = re.compile(rb"[\w.:\[\]%~-]*", re.ASCII)
_CODES = {413: "too_large", 414: "uri_too_long", 431: "headers_too_large"}


class RequestError(Exception):
    """The server responds itself. It closes the connection, unless the same request may succeed later."""

    def __init__(self, status: int, sentence: str, *, code: str = "", retry_after: int | None = None) -> None:
        """`retry_after` is in seconds."""
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.retry_after = retry_after


def check_head(scope: "HTTPScope") -> None:
    """Raise RequestError for requests that the parser should have rejected."""
    names = [name for name, _ in scope["headers"]]
    if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET:
        raise RequestError(414, f"Path and query together are too long (max {MAX_TARGET} bytes)")
    if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > MAX_HEAD:
        raise RequestError(431, f"The request's headers are too large (max {MAX_HEAD} bytes)")
    if scope["http_version"] not in ("1.0", "1.1"):
        raise RequestError(400, "Send HTTP/1.1")
    if not scope["method"].isupper():
        raise RequestError(400, "Methods are written in capital letters")
    if b"content-length" in names and b"transfer-encoding" in names:  # readers could disagree about where the body ends
        raise RequestError(400, "Send either Content-Length or Transfer-Encoding")
    if not all(_HOST.fullmatch(value) for name, value in scope["headers"] if name == b"host"):
        raise RequestError(400, "The Host header is not a host")


def render_error(
    status: int, sentence: str, *, path: str = "", code: str = "", retry_after: int | None = None
) -> tuple[Headers, bytes]:
    """Return headers and body, in the shape that callers of this path read. Without one it is that of images."""
    code = code or _CODES.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_")
    if _COLLECTIONS.match(path):
        body = json.dumps({"errors": [{"title": sentence, "code": code}]}).encode()
    else:
        body = json.dumps({"error": sentence, "code": code}).encode()
    headers = {
        "Content-Type": "application/json",
        "Content-Length": f"{len(body)}",
        **({"Retry-After": f"{retry_after}"} if retry_after else {"Connection": "close"}),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return [(name.encode(), value.encode()) for name, value in headers.items()], body
