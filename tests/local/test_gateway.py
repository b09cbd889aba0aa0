from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from werkzeug.test import Client

from infra.local.gateway import Gateway, restore_client, routes_of
from infra.local.hosts import KnownHosts
from infra.local.manifests import Manifests

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ROOT = Path(__file__).parents[2]
UUID = "0b9d1f5e-3c1c-4a52-8f5e-6b8c7d9e0f11"


def function(host: str) -> "WSGIApplication":
    """Return an application that responds with its own name and the request's host."""

    def respond(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        start_response("200 OK", [])
        return [f"{host} {environ['HTTP_HOST']} {environ['RAW_URI']}".encode()]

    return respond


def gateway(manifests: Manifests) -> Client:
    routes = routes_of(manifests)
    functions = {route.host: function(route.host) for route in routes}
    return Client(Gateway(routes, functions, KnownHosts(["images.example.com"])))


def serving_function(client: Client, method: str, path: str) -> str:
    return client.open(path, method=method).text.split(".")[0].split(" ")[0]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/images", "list-images"),
        ("GET", f"/api/v1/images/{UUID}", "get-image"),
        ("DELETE", f"/api/v1/images/{UUID}", "delete-image"),
        ("GET", f"/api/v1/images/{UUID}/renditions/thumbnail", "get-rendition"),
        ("GET", f"/api/v1/images/{UUID}/similar", "find-similar-images"),
        ("GET", "/api/v1/images/actions/upload-url", "create-upload-url"),
        ("POST", "/api/v1/images/actions/upload-url", "reserve-upload"),
        ("POST", "/api/v1/images/actions/upload", "upload-image"),
        ("POST", "/api/v1/images/actions/process", "request-processing"),
        ("GET", "/api/v1/collections", "list-collections"),
        ("POST", "/api/v1/collections", "create-collection"),
        ("GET", f"/api/v1/collections/{UUID}", "get-collection"),
        ("PATCH", f"/api/v1/collections/{UUID}", "update-collection"),
        ("DELETE", f"/api/v1/collections/{UUID}", "delete-collection"),
        ("POST", f"/api/v1/collections/{UUID}/relationships/images", "add-images-to-collection"),
        ("DELETE", f"/api/v1/collections/{UUID}/relationships/images", "remove-images-from-collection"),
        ("GET", "/api/health", "get-health"),
        ("GET", "/api/health/ready", "get-health"),
        ("GET", "/api-docs", "serve-api-docs"),
        ("GET", "/api-docs/swagger-ui.css", "serve-api-docs"),
        ("GET", "/openapi.json", "serve-api-docs"),
        ("GET", "/", "serve-gallery"),
        ("GET", "/ops/", "serve-gallery"),
        ("GET", "/gallery/gallery-0123456789ab.js", "serve-gallery"),
        # The first function of a path serves OPTIONS and rejects other methods.
        ("PUT", "/api/v1/images", "list-images"),
        ("OPTIONS", f"/api/v1/collections/{UUID}", "get-collection"),
        ("GET", f"/api/v1/collections/{UUID}/relationships/images", "add-images-to-collection"),
        # The catch-all function serves every other path.
        ("GET", f"/api/v1/images/{UUID}/more", "serve-gallery"),
        ("POST", "/", "serve-gallery"),
        ("GET", "/api-docsx", "serve-gallery"),
    ],
)
def test_the_routes_select_the_function_for_a_method_and_path(method: str, path: str, expected: str) -> None:
    assert serving_function(gateway(Manifests.read(ROOT / "infra/k8s/routes")), method, path) == expected


ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: route}
spec:
  parentRefs: [{name: gateway}]
  rules:
"""


def rule(host: str, *matches: str) -> str:
    return f"""
    - matches: [{", ".join(f"{{{match}}}" for match in matches)}]
      filters: [{{type: URLRewrite, urlRewrite: {{hostname: {host}.space.svc.cluster.local}}}}]
      backendRefs: [{{name: gateway, port: 80}}]
"""


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/a/b", "exact"),
        ("POST", "/a/b", "exact-post"),
        ("GET", "/a/c", "expression"),
        ("GET", "/a/c/d", "longer-prefix"),
        ("GET", "/a/cc/d", "prefix"),
        ("GET", "/a", "prefix"),
        ("GET", "/ab", ""),
        ("GET", "/a/x%2Fy", "expression"),
        ("GET", "/a/b?c=/d", "exact"),
        ("GET", "/twice", "first"),
    ],
)
def test_the_match_with_the_highest_precedence_wins_in_any_order(
    method: str, path: str, expected: str, manifest_folder: Callable[..., Path]
) -> None:
    rules = [
        rule("prefix", "path: {type: PathPrefix, value: /a}"),
        rule("longer-prefix", "path: {type: PathPrefix, value: /a/c/}"),
        rule("expression", "path: {type: RegularExpression, value: '/a/[^/]+'}"),
        rule("exact", "path: {type: Exact, value: /a/b}"),
        rule("exact-post", "method: POST, path: {type: Exact, value: /a/b}"),
        rule("first", "path: {type: Exact, value: /twice}"),
        rule("second", "path: {type: Exact, value: /twice}"),
    ]
    client = gateway(Manifests.read(manifest_folder(route=ROUTE + "".join(rules))))
    assert serving_function(client, method, path) == expected


def test_a_function_gets_requests_under_its_own_host(manifest_folder: Callable[..., Path]) -> None:
    client = gateway(Manifests.read(manifest_folder(route=ROUTE + rule("one", "path: {value: /}"))))
    assert client.get("/", headers={"Host": "images.example.com"}).text.endswith(" one.space.svc.cluster.local /")


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("images.example.com", True),
        ("IMAGES.example.com:80", True),
        ("192.0.2.7:5000", True),
        ("192.0.2.8", False),
        ("127.0.0.2", True),
        ("[::1]", True),
        ("api.localhost:5000", True),
        ("localhost.example.com", False),
        ("example.com", False),
        ("[::1", False),
        ("user@localhost@example.com", False),
        ("", True),
    ],
)
def test_configured_hosts_localhost_and_the_reached_address_are_allowed(host: str, *, is_allowed: bool) -> None:
    assert KnownHosts(["images.example.com"]).include(host, "192.0.2.7") is is_allowed


def test_the_error_for_an_unknown_host_says_how_to_allow_it(manifest_folder: Callable[..., Path]) -> None:
    client = gateway(Manifests.read(manifest_folder(route=ROUTE + rule("one", "path: {value: /}"))))
    response = client.get("/", headers={"Host": "elsewhere.example:80"})

    assert response.status_code == 421
    assert "ALLOWED_HOSTS=elsewhere.example" in response.get_json(force=True)["error"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("token 192.0.2.1 192.0.2.7", "192.0.2.1 192.0.2.7"),
        ("tokem 192.0.2.1 192.0.2.7", "127.0.0.1 localhost"),
        ("", "127.0.0.1 localhost"),
        ("é 192.0.2.1", "127.0.0.1 localhost"),
    ],
)
def test_only_who_knows_the_token_may_say_who_the_client_is(header: str, expected: str) -> None:
    def respond(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        start_response("200 OK", [])
        return [f"{environ['REMOTE_ADDR']} {environ['SERVER_NAME']} {environ.get('HTTP_X_EDGE', '')}".encode()]

    client = Client(restore_client(respond, "token"))
    response = client.get("/", headers={"X-Edge": header}, environ_overrides={"REMOTE_ADDR": "127.0.0.1"})

    assert response.text == f"{expected} "


@pytest.mark.parametrize(
    ("host", "target", "expected"),
    [
        ("imgproxy.localhost:5000", "/_/w:20/plain/a%2Fb?c", "deliver-imgproxy /imgproxy/_/w:20/plain/a%2Fb?c"),
        ("thumbor.localhost", "/unsafe/20x10/a", "deliver-thumbor /thumbor/unsafe/20x10/a"),
        ("Thumbor.images.example.com", "/api/v1/images", None),
        ("localhost", "/thumbor/unsafe/20x10/a", "deliver-thumbor /thumbor/unsafe/20x10/a"),
    ],
)
def test_a_host_named_after_a_service_serves_its_urls_at_the_root(host: str, target: str, expected: str | None) -> None:
    path = target.partition("?")[0]
    response = gateway(Manifests.read(ROOT / "infra/k8s/routes")).get(
        path, headers={"Host": host}, environ_overrides={"RAW_URI": target}
    )

    if expected is None:
        assert response.status_code == 421, "only named hosts are served"
    else:
        name, _, sent = response.text.split(" ")
        assert f"{name.split('.')[0]} {sent}" == expected
