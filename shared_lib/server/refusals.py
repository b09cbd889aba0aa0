"""What the server refuses by itself: it does not know whom the request was for."""

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvicorn._types import HTTPScope

Headers = list[tuple[bytes, bytes]]

MAX_HEAD = 32 * 1024  # bytes of a request's line and headers, as at the nginx edge
MAX_TARGET = 8 * 1024  # bytes of path and query

_HOST = re.compile(rb"[\w.:\[\]%~-]*", re.ASCII)
_CODES = {413: "too_large", 414: "uri_too_long", 431: "headers_too_large"}


class Refused(Exception):
    """The server answers by itself, and closes the connection."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def check_head(scope: "HTTPScope") -> None:
    """Raises Refused for what the parser lets pass."""
    names = [name for name, _ in scope["headers"]]
    if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET:
        raise Refused(414, f"Path and query together are too long (max {MAX_TARGET} bytes)")
    if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > MAX_HEAD:
        raise Refused(431, f"The request's headers are too large (max {MAX_HEAD} bytes)")
    if scope["http_version"] not in ("1.0", "1.1"):
        raise Refused(400, "Send HTTP/1.1")
    if not scope["method"].isupper():
        raise Refused(400, "Methods are written in capital letters")
    if b"content-length" in names and b"transfer-encoding" in names:  # readers would not agree where the body ends
        raise Refused(400, "Send either Content-Length or Transfer-Encoding")
    if not all(_HOST.fullmatch(value) for name, value in scope["headers"] if name == b"host"):
        raise Refused(400, "The Host header is not a host")


def make_refusal(status: int, sentence: str) -> tuple[Headers, bytes]:
    """Headers and body. The body is JSON in both shapes that callers read, the images' and the collections'."""
    code = _CODES.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_")
    body = json.dumps({"error": sentence, "code": code, "errors": [{"title": sentence, "code": code}]}).encode()
    headers = {
        "Content-Type": "application/json",
        "Content-Length": f"{len(body)}",
        "Connection": "close",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return [(name.encode(), value.encode()) for name, value in headers.items()], body
