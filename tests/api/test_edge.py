"""What every endpoint does alike: errors, methods, headers, health, documentation."""

import json
import socket

import pytest
import requests
from service import ROOT, Api, Platform

OPENAPI = json.loads((ROOT / "shared_lib" / "openapi.json").read_text())
PATHS = sorted(OPENAPI["paths"])
SOME_UUID = "3f0c8a52-9e0f-4f53-9f1d-93d1f6f2a4c0"


@pytest.mark.parametrize("path", PATHS)
def test_a_method_that_a_path_lacks_is_405_with_allow(platform: Platform, path: str) -> None:
    known = {method.upper() for method in OPENAPI["paths"][path]}
    url = platform.url + path.replace("{uuid}", SOME_UUID)

    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - known:
        response = requests.request(method, url, timeout=10)
        assert response.status_code == 405, method
        allowed = set(response.headers["Allow"].split(", "))
        assert known <= allowed
        assert method not in allowed
        assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", PATHS)
def test_a_browser_of_another_origin_may_call(platform: Platform, path: str) -> None:
    asked = {
        "Origin": "https://elsewhere.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    response = requests.options(platform.url + path.replace("{uuid}", SOME_UUID), headers=asked, timeout=10)

    assert response.status_code == 204
    assert "Content-Type" not in response.headers
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    for method in OPENAPI["paths"][path]:
        assert method.upper() in response.headers["Access-Control-Allow-Methods"]
    assert response.headers["Access-Control-Allow-Headers"] == "content-type"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/api/v1",
        "/api/v1/images/a/b/c",
        "/api-docs/../../etc/passwd",
        "/api-docs/" + "a" * 300,
        "/api-docs/%2e%2e",
        "/openapiXjson",
    ],
)
def test_an_unknown_path_is_404_in_json(platform: Platform, path: str) -> None:
    response = requests.get(platform.url + path, timeout=10)

    assert response.status_code == 404
    assert response.json()["code"] == "no_such_path"


def test_every_answer_wears_its_headers(api: Api) -> None:
    response = api("GET", "/images", headers={"X-Request-Id": "mine-1"})

    assert response.headers["X-Request-Id"] == "mine-1"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert api("GET", "/images", headers={"X-Request-Id": "not ok!"}).headers["X-Request-Id"] != "not ok!"


def test_head_answers_like_get_without_a_body(api: Api) -> None:
    response = api("HEAD", "/images")

    assert (response.status_code, response.content) == (200, b"")
    assert "X-Total-Count" in response.headers


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"name": "ok \xf0\x9f\x8f\x96"}', "application/json; charset=utf-8", 201),
        (b"name=form", "application/x-www-form-urlencoded", 415),
        (b'{"name": "' + b"x" * 2_000_000 + b'"}', "application/json", 413),
        (b"[" * 100_000, "application/json", 400),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(api: Api, body: bytes, content_type: str, status: int) -> None:
    response = api("POST", "/collections", data=body, headers={"Content-Type": content_type})

    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /api/v1/images?search=%ff%fe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /api/v1/images/%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /api/v1/images?page=9999999999999999999999 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /api/v1/images?search=" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-Large: " + b"x" * 20_000 + b"\r\n\r\n",
        (
            b"POST /api/v1/images/actions/upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9\r\n\r\n--b\r\nbad\r"
        ),
        (
            b"POST /api/v1/images/actions/upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Type: multipart/form-data\r\nContent-Length: 3\r\n\r\nabc"
        ),
    ],
)
def test_malformed_requests_are_the_callers_fault(platform: Platform, raw: bytes) -> None:
    host, port = platform.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(raw)
        answer = connection.makefile("rb").read()

    status = int(answer.split(b" ", 2)[1])
    assert 200 <= status < 500
    assert b"Traceback" not in answer
    assert b"<html" not in answer.lower()


@pytest.mark.parametrize(
    ("path", "content_type", "status"),
    [
        ("/api/v1/images/actions/upload", "multipart/form-data; boundary=b", 413),
        ("/api/v1/collections", "application/json", 413),
        ("/api/v1/images", "application/json", 405),
    ],
)
def test_a_body_of_unknown_length_is_refused_like_any_other(
    platform: Platform, path: str, content_type: str, status: int
) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    pieces = [head, *[b"x" * 1024 * 1024] * 12, b"\r\n--b--\r\n"]

    response = requests.post(platform.url + path, data=iter(pieces), headers={"Content-Type": content_type}, timeout=30)

    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"


def test_health_tells_that_all_parts_answer(platform: Platform) -> None:
    for path in ("/api/health", "/api/health/ready", "/api/health/live"):
        response = requests.get(platform.url + path, timeout=10)
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_the_document_is_served_as_written(platform: Platform) -> None:
    assert requests.get(f"{platform.url}/openapi.json", timeout=10).json() == OPENAPI
    assert OPENAPI["openapi"] == "3.1.0"
