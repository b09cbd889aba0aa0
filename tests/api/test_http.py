"""Behavior that all endpoints share: errors, methods, headers, health and documentation."""

import json

import pytest
import requests
from raw_http import exchange
from service import ROOT, Api, Platform

OPENAPI = json.loads((ROOT / "shared_lib" / "web" / "openapi.json").read_text())
PATHS = sorted(OPENAPI["paths"])
SOME_UUID = "3f0c8a52-9e0f-4f53-9f1d-93d1f6f2a4c0"


@pytest.mark.parametrize("path", PATHS)
def test_an_unsupported_method_is_405_with_allow(platform: Platform, path: str) -> None:
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
def test_a_preflight_of_an_allowed_origin_lists_what_it_may_do(platform: Platform, path: str) -> None:
    response = _send_preflight(platform, path, platform.named_origin)

    assert response.headers["Access-Control-Allow-Origin"] == platform.named_origin
    for method in OPENAPI["paths"][path]:
        assert method.upper() in response.headers["Access-Control-Allow-Methods"]
    assert response.headers["Access-Control-Allow-Headers"] == "content-type"
    assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null"])
def test_a_preflight_of_any_other_origin_allows_nothing(platform: Platform, path: str, origin: str) -> None:
    response = _send_preflight(platform, path, origin)

    assert response.headers["Vary"] == "Origin"
    assert not [name for name in response.headers if name.startswith("Access-Control-")]


def _send_preflight(platform: Platform, path: str, origin: str) -> requests.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "cors",
    }
    response = requests.options(platform.url + path.replace("{uuid}", SOME_UUID), headers=headers, timeout=10)
    assert response.status_code == 204
    assert "Content-Type" not in response.headers
    return response


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"Sec-Fetch-Site": "same-origin"}, 404),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 404),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_pages_of_other_sites_cannot_write(platform: Platform, headers: dict[str, str], status: int) -> None:
    url = f"{platform.url}/api/v1/images/{SOME_UUID}"
    response = requests.delete(url, headers=headers, timeout=10)

    assert response.status_code == status
    assert response.json()["code"] == {403: "origin_not_allowed", 404: "image_not_found"}[status]


def test_the_apis_own_pages_can_write_if_the_browser_sends_only_origin(platform: Platform) -> None:
    url = f"{platform.url}/api/v1/images/{SOME_UUID}"

    assert requests.delete(url, headers={"Origin": platform.url}, timeout=10).status_code == 404


FOLLOWED = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def test_links_from_other_sites_can_be_followed(platform: Platform) -> None:
    assert requests.get(f"{platform.url}/api/v1/images", headers=FOLLOWED, timeout=10).status_code == 200


@pytest.mark.parametrize("kind", ["iframe", "frame", "embed", "object"])
def test_a_page_of_another_site_has_nothing_of_the_api_in_a_frame(platform: Platform, kind: str) -> None:
    framed = requests.get(f"{platform.url}/api/v1/images", headers=FOLLOWED | {"Sec-Fetch-Dest": kind}, timeout=10)

    assert (framed.status_code, framed.json()["code"]) == (403, "origin_not_allowed")


@pytest.mark.parametrize("kind", ["document", "iframe"])
def test_no_page_of_another_site_has_a_browser_begin_an_upload(platform: Platform, kind: str) -> None:
    """A GET that writes a row. To type its address, or to follow a link on a page of ours, is allowed."""
    url = f"{platform.url}/api/v1/images/actions/upload-url?extension=jpg"

    assert requests.get(url, headers=FOLLOWED | {"Sec-Fetch-Dest": kind}, timeout=10).status_code == 403
    for site in ("none", "same-origin"):
        own = FOLLOWED | {"Sec-Fetch-Site": site}
        assert requests.get(url, headers=own, timeout=10).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/", "/api-docs"])
def test_likely_paths_redirect_to_the_documentation(platform: Platform, path: str) -> None:
    response = requests.get(platform.url + path, timeout=10)

    assert response.url == f"{platform.url}/api-docs/"
    assert response.status_code == 200
    assert "<title>Image processing API</title>" in response.text


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/api/v2",
        "/api/v1/images/a/b/c",
        "/api-docs/../../etc/passwd",
        "/api-docs/" + "a" * 300,
        "/api-docs/%2e%2e",
        "/openapiXjson",
        "/gallery/",
        "/gallery/index.html",
        "/gallery/..%2fopenapi.json",
    ],
)
def test_an_unknown_path_is_404_in_json(platform: Platform, path: str) -> None:
    response = requests.get(platform.url + path, timeout=10)

    assert response.status_code == 404
    assert response.json()["code"] == "no_such_path"


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("/api/v1/image", "Did you mean /api/v1/images?"),
        ("/images", "Did you mean /api/v1/images?"),
        (f"/api/v1/images/{SOME_UUID}/rendition/web", "Did you mean /api/v1/images/{uuid}/renditions/{name}, such as"),
        (
            f"/i/unsafe/{SOME_UUID}.webp",
            "A part is missing. Did you mean /i/{signature}/{options}/{file}, such as /i/unsafe/w=320,h=240,fit=cover/",
        ),
    ],
)
def test_an_unknown_path_gets_the_one_that_was_meant(platform: Platform, path: str, advice: str) -> None:
    response = requests.get(platform.url + path, timeout=10)

    assert (response.status_code, response.json()["code"]) == (404, "no_such_path")
    [detail] = response.json()["details"]
    assert advice in detail["message"]


@pytest.mark.parametrize(
    ("method", "path", "advice"),
    [
        ("POST", "/images", "/api/v1/images/actions/upload,"),
        ("DELETE", "/images", "DELETE is for /api/v1/images/{uuid}"),
        ("PUT", "/images", None),
        ("DELETE", "/collections", "DELETE is for /api/v1/collections/{uuid}"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_refused_with_the_paths_that_take_it(
    api: Api, method: str, path: str, advice: str | None
) -> None:
    body = api(method, path).json()

    if "errors" in body:
        advised = body["errors"][0]["detail"]
    else:
        advised = body["details"][0]["message"] if advice else body.get("details")
    assert advised == advice if advice is None else advice in advised


def test_every_response_has_a_request_id_and_security_headers(api: Api) -> None:
    response = api("GET", "/images", headers={"X-Request-Id": "mine-1"})

    assert response.headers["X-Request-Id"] == "mine-1"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in response.headers  # the test service has no TLS
    assert api("GET", "/images", headers={"X-Request-Id": "not ok!"}).headers["X-Request-Id"] != "not ok!"


def test_head_returns_the_headers_of_get_without_a_body(api: Api) -> None:
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
def test_a_body_that_is_not_a_json_object_is_rejected(api: Api, body: bytes, content_type: str, status: int) -> None:
    response = api("POST", "/collections", data=body, headers={"Content-Type": content_type})

    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("door", ["gateway", "nginx_edge"])
@pytest.mark.parametrize(("path", "shape"), [("collections", {"errors"}), ("images", {"error", "code"})])
def test_the_refusal_of_a_host_has_the_shape_of_its_path(
    request: pytest.FixtureRequest, door: str, path: str, shape: set[str]
) -> None:
    raw = b"GET /api/v1/%s HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n" % path.encode()

    response = exchange(request.getfixturevalue(door), raw)

    assert (response.status, response.json().keys()) == (421, shape)


@pytest.mark.parametrize("name", ["elsewhere.example", "localhost.elsewhere.example", "192.0.2.1", "127.0.0.1.nip"])
def test_the_gateway_rejects_host_names_that_are_not_this_machines(gateway: tuple[str, int], name: str) -> None:
    for raw in (
        f"GET /api/v1/images HTTP/1.1\r\nHost: {name}:80\r\n\r\n",
        f"GET http://{name}/api/v1/images HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ):
        response = exchange(gateway, raw.encode())
        assert response.status == 421
        assert response.json()["code"] == "misdirected_request"


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST:1", "127.0.0.1:5000", "[::1]:5000"])
def test_the_gateway_accepts_this_machines_own_names(gateway: tuple[str, int], name: str) -> None:
    assert exchange(gateway, f"GET /api/v1/images HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()).status == 200


def test_links_never_contain_the_host_that_a_client_sent(single_function: tuple[str, int]) -> None:
    response = exchange(single_function, b"GET /api/v1/images?page=2 HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n")

    assert response.headers["link"].startswith("</api/v1/images?page=1>")
    assert "elsewhere" not in response.headers["link"]


@pytest.mark.parametrize(
    ("path", "content_type", "status"),
    [
        ("/api/v1/images/actions/upload", "multipart/form-data; boundary=b", 413),
        ("/api/v1/collections", "application/json", 413),
        ("/api/v1/images", "application/json", 405),
    ],
)
def test_a_chunked_body_is_rejected_like_any_other(
    platform: Platform, path: str, content_type: str, status: int
) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    chunks = [head, *[b"x" * 1024 * 1024] * 12, b"\r\n--b--\r\n"]

    response = requests.post(platform.url + path, data=iter(chunks), headers={"Content-Type": content_type}, timeout=30)

    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"


def test_every_health_path_is_ok_while_all_parts_respond(platform: Platform) -> None:
    for path in ("/api/health", "/api/health/ready", "/api/health/live"):
        response = requests.get(platform.url + path, timeout=10)
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_the_openapi_document_is_served_as_it_is_in_the_repository(platform: Platform) -> None:
    served = requests.get(f"{platform.url}/openapi.json", timeout=10).json()
    for operation in (each for methods in served["paths"].values() for each in methods.values()):
        if isinstance(operation, dict) and operation.get("security"):
            operation["security"].remove({})  # without a login, nobody has to present credentials

    assert served == OPENAPI
    assert OPENAPI["openapi"] == "3.1.0"
