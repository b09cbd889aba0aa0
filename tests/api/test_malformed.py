"""Requests that are not valid HTTP get an error in JSON, from the API and from a single function."""

import json

import pytest
from raw_http import exchange
from service import ROOT, Api

CHUNKED = b"Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n"
LINES = {
    "a write": b"POST /api/v1/collections HTTP/1.1\r\nHost: localhost\r\n",
    "a read": b"GET /api/v1/images HTTP/1.1\r\nHost: localhost\r\n",
    "an unknown path": b"POST /nothing HTTP/1.1\r\nHost: localhost\r\n",
}
MALFORMED = {
    "chunk size that is no number": CHUNKED + b"\r\nZZ\r\n",
    "negative chunk size": CHUNKED + b"\r\n-1\r\n",
    "chunk size beyond any number": CHUNKED + b"\r\nFFFFFFFFFFFFFFFFFFFFFFFF\r\nabc",
    "chunk that is longer than its size": CHUNKED + b"\r\n2\r\n{}XX0\r\n\r\n",
    "two lengths at once": CHUNKED + b"Content-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "Transfer-Encoding twice": CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
    "Transfer-Encoding that is unknown": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "Content-Length that is no number": b"Content-Length: abc\r\n\r\n",
    "Content-Length below zero": b"Content-Length: -1\r\n\r\n",
    "Content-Length with a sign": b"Content-Length: +2\r\n\r\n{}",
    "Content-Length that contradicts itself": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "Content-Length beyond any number": b"Content-Length: 99999999999999999999999999\r\n\r\n",
    "header of 40 kB": b"X-Large: " + b"a" * 40_000 + b"\r\n\r\n",
    "5,000 headers": b"".join(b"X-%d: a\r\n" % number for number in range(5_000)) + b"\r\n",
    "space before a header's colon": b"X : a\r\n\r\n",
    "header without a name": b": a\r\n\r\n",
    "NUL in a header": b"X: a\x00b\r\n\r\n",
    "carriage return in a header": b"X: a\rb\r\n\r\n",
    "second Host": b"Host: localhost\r\n\r\n",
}
# nginx ignores these.
MALFORMED_EXTRAS = {
    "chunk extension of 1 MB": CHUNKED + b"\r\n1;" + b"a" * 1_000_000 + b"\r\nx\r\n0\r\n\r\n",
    "trailer of 1 MB": CHUNKED + b"\r\n2\r\n{}\r\n0\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "trailer that is no header": CHUNKED + b"\r\n2\r\n{}\r\n0\r\nno colon\r\n\r\n",
}
MALFORMED_LINES = {
    "no request": b"NONSENSE\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET /api/v1/images HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "method in small letters": b"get /api/v1/images HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "method that is no token": b"G@T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "unknown method": b"BREW /api/v1/images HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TRACE": b"TRACE /api/v1/images HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "CONNECT": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tabs for spaces": b"GET\t/\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no Host": b"GET /api/v1/images HTTP/1.1\r\n\r\n",
    "Host that is none": b"GET /api/v1/images HTTP/1.1\r\nHost: a b/c@d\r\n\r\n",
    "line break in the path": b"GET /api/v1/images/%0d%0aX:a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "line break in an unknown path": b"GET /a%0ab HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "NUL in the path": b"GET /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "bytes that are no ASCII in the path": b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "path of 10 kB": b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "path of 100 kB": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "query of 10 kB": b"GET /api/v1/images?search=" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "page beyond any number": b"GET /api/v1/images?page=9999999999999999999999 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "form that breaks off": (
        b"POST /api/v1/images/actions/upload HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9\r\n\r\n--b\r\nbad\r"
    ),
    "form without a boundary": (
        b"POST /api/v1/images/actions/upload HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: multipart/form-data\r\nContent-Length: 3\r\n\r\nabc"
    ),
    "favicon": b"GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\n\r\n",
}
QUERIES = [
    (path.removeprefix("/api/v1"), each["name"])
    for path, methods in json.loads((ROOT / "shared_lib/web/openapi.json").read_text())["paths"].items()
    for each in methods.get("get", {}).get("parameters", [])
    if each["in"] == "query" and "{" not in path
]
# These are unusual, but valid.
ODD = {
    "SCRIPT_NAME": b"SCRIPT_NAME: /zzz\r\n\r\n",
    "Script-Name": b"Script-Name: /zzz\r\n\r\n",
    "PATH_INFO": b"PATH_INFO: /zzz\r\n\r\n",
    "Content_Length": b"Content_Length: 5\r\n\r\n",
    "chunk extension": CHUNKED + b"\r\n2;a=b\r\n{}\r\n0\r\n\r\n",
    "trailer": CHUNKED + b"\r\n2\r\n{}\r\n0\r\nX-Trailer: 1\r\n\r\n",
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAA\r\n\r\n",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("rest", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_is_rejected_in_json(address: tuple[str, int], line: bytes, rest: bytes) -> None:
    _expect_error(address, line + rest)


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("rest", MALFORMED_EXTRAS.values(), ids=MALFORMED_EXTRAS)
def test_malformed_chunk_extensions_and_trailers_are_rejected_in_json(
    server: tuple[str, int], line: bytes, rest: bytes
) -> None:
    _expect_error(server, line + rest)


@pytest.mark.parametrize("raw", MALFORMED_LINES.values(), ids=MALFORMED_LINES)
def test_an_invalid_request_line_or_host_is_rejected_in_json(address: tuple[str, int], raw: bytes) -> None:
    _expect_error(address, raw)


def _expect_error(address: tuple[str, int], raw: bytes) -> None:
    response = exchange(address, raw)

    assert 400 <= response.status < 500
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() & {"error", "errors"}
    assert "Traceback" not in f"{body}"


@pytest.mark.parametrize(
    ("path", "shape"), [(b"/api/v1/collections", {"errors"}), (b"/api/v1/images", {"error", "code"})]
)
def test_an_error_of_the_server_itself_has_the_shape_of_its_path(
    server: tuple[str, int], path: bytes, shape: set[str]
) -> None:
    response = exchange(server, b"GET %s?search=%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (path, b"x" * 20_000))

    assert (response.status, response.json().keys()) == (414, shape)


@pytest.mark.parametrize("rest", ODD.values(), ids=ODD)
def test_unusual_headers_are_ignored(address: tuple[str, int], rest: bytes) -> None:
    response = exchange(address, LINES["a read"] + rest)

    assert response.status == 200
    assert isinstance(response.json(), list)


def test_a_parameter_with_a_line_break_is_invalid_like_any_other(api: Api) -> None:
    response = api("GET", "/operations/dead-letters/1%0d%0a2")

    assert (response.status_code, response.json()["code"]) == (400, "invalid_input")


@pytest.mark.parametrize(("path", "name"), QUERIES)
def test_nul_in_a_query_is_invalid(api: Api, path: str, name: str) -> None:
    response = api("GET", f"{path}?{name}=%00")

    assert response.status_code == 400
    assert name in response.text


def test_a_search_that_is_not_utf_8_finds_nothing(address: tuple[str, int]) -> None:
    response = exchange(address, b"GET /api/v1/images?search=%ff%fe HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert (response.status, response.json()) == (200, [])
