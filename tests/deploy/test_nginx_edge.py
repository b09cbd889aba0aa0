"""The nginx edge resolves its backends by name and limits its clients."""

import json
import re
import select
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
import yaml
from nginx import BACKENDS, Names, run_edge
from raw_http import connect, exchange, read_response
from service import ROOT, find_free_port, wait_for

from infra.local.edge import EDGE

LARGE = 4 * 2**20


class Backend(ThreadingHTTPServer):
    """Responds with the address, host and path of the request."""

    request_queue_size = 512

    def __init__(self, address: str, port: int) -> None:
        super().__init__((address, port), _Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def respond(self) -> None:
        if self.path.endswith("/large"):
            self._send(bytes(LARGE))
            return
        body = f"{self.connection.getsockname()[0]} {self.headers['Host']} {self.path}".encode()
        self._send(body)

    def _send(self, body: bytes) -> None:
        with suppress(OSError):  # the edge has closed the connection
            self.send_response(200)
            self.send_header("Content-Length", f"{len(body)}")
            self.send_header("X-Passed-On", self.headers["X-Forwarded-For"])
            self.end_headers()
            self.wfile.write(body)

    do_GET = do_TRACE = respond  # noqa: N815  # names that http.server looks for

    def log_message(self, *_line: object) -> None:
        """Log nothing."""


@pytest.fixture
def names() -> Iterator[Names]:
    with Names() as names:
        yield names


@pytest.fixture
def backends() -> Iterator[list[Backend]]:
    port = find_free_port()
    backends = [Backend(address, port) for address in ("127.0.0.2", "127.0.0.3")]
    yield backends
    for backend in backends:
        backend.close()


@pytest.mark.parametrize("variant", BACKENDS)
def test_the_edge_follows_a_backend_that_moves_to_another_address(
    variant: str, names: Names, backends: list[Backend], tmp_path: Path
) -> None:
    def request(url: str, method: str = "GET") -> list[str]:
        return requests.request(
            method, f"{url}/api/v1/images?x=%2F", headers={"Host": "localhost"}, timeout=10
        ).text.split(" ")

    names.address = "127.0.0.2"
    port = backends[0].server_port
    with run_edge(tmp_path / "nginx", BACKENDS[variant], backend_port=port, dns_port=names.port) as url:
        assert request(url) == ["127.0.0.2", HOSTS[variant], PATHS[variant]]
        assert request(url, "TRACE")[0] == "127.0.0.2"
        names.address = "127.0.0.3"
        moved = wait_for(lambda: request(url), lambda seen: seen[0] == "127.0.0.3")
        assert moved == ["127.0.0.3", HOSTS[variant], PATHS[variant]]


HOSTS = {
    "cluster": "list-images.image-processing.svc.cluster.local",
    "compose": "localhost",
    "functions": "list-images",
    "openfaas": "list-images",
}
PATHS = {
    "cluster": "/api/v1/images?x=%2F",
    "compose": "/api/v1/images?x=%2F",
    "functions": "/api/v1/images?x=%2F",
    "openfaas": "/function/list-images/api/v1/images?x=%2F",
}


@pytest.fixture
def edge(names: Names, backends: list[Backend], tmp_path: Path) -> Iterator[tuple[str, int]]:
    names.address = "127.0.0.2"
    port, hosts = backends[0].server_port, ROOT / "infra/compose/hosts-anonymous.conf"
    folder = tmp_path / "nginx"
    with run_edge(folder, BACKENDS["functions"], backend_port=port, dns_port=names.port, hosts=hosts) as url:
        yield "127.0.0.1", urlsplit(url).port or 0


def test_slow_readers_cannot_exhaust_the_edge(edge: tuple[str, int], tmp_path: Path) -> None:
    with ExitStack() as crowd:
        readers = [crowd.enter_context(connect(edge, LARGE_REQUEST, receive_buffer=4096)) for _ in range(500)]
        statuses = Counter(reader.recv(12)[-3:] for reader in readers)
        kept = sum(file.stat().st_size for file in (tmp_path / "nginx/answers").rglob("*") if file.is_file())

        assert statuses == {b"200": 128, b"429": 500 - 128}
        assert kept <= 128 * 2**20
        assert exchange(edge, PROBE, client="127.0.0.9").status == 200


def test_slow_senders_cannot_exhaust_the_edge(edge: tuple[str, int]) -> None:
    raw = b"POST /api/v1/images/actions/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n"
    with ExitStack() as crowd:
        senders = [crowd.enter_context(connect(edge, raw + bytes(100_000))) for _ in range(100)]
        rejected = [read_response(sender) for sender in senders if select.select([sender], [], [], 0.05)[0]]

        assert len(rejected) == 100 - 32
        assert {(response.status, response.json()["code"]) for response in rejected} == {(429, "too_many_requests")}
        assert {response.headers["retry-after"] for response in rejected} == {"5"}
        assert exchange(edge, PROBE).status == 200  # requests without a body have a limit of their own


def test_a_full_edge_still_answers_health_checks(names: Names, backends: list[Backend], tmp_path: Path) -> None:
    names.address = "127.0.0.2"
    port, hosts = backends[0].server_port, ROOT / "infra/compose/hosts-anonymous.conf"
    started = run_edge(
        tmp_path / "nginx",
        BACKENDS["functions"],
        backend_port=port,
        dns_port=names.port,
        hosts=hosts,
        most_requests=8,
    )
    with started as url, ExitStack() as crowd:
        edge = "127.0.0.1", urlsplit(url).port or 0
        for _ in range(8):
            reader = crowd.enter_context(connect(edge, LARGE_REQUEST, receive_buffer=4096))
            assert reader.recv(12) == b"HTTP/1.1 200"
        paths = ("/api/v1/images", "/api/healthy", "/api/health", "/api/health/ready", "/api/health/live")
        answers = {
            path: exchange(edge, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()).status for path in paths
        }

    assert answers == dict(zip(paths, (429, 429, 200, 200, 200), strict=True))


LARGE_REQUEST = b"GET /api/v1/images/large HTTP/1.1\r\nHost: localhost\r\n\r\n"
PROBE = b"GET /api/v1/images HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    ("host", "sent", "received"),
    [
        ("imgproxy.localhost", "/_/w:20/plain/a%2Fb?c", "deliver-imgproxy /imgproxy/_/w:20/plain/a%2Fb?c"),
        ("thumbor.localhost:5000", "/unsafe//a", "deliver-thumbor /thumbor/unsafe//a"),
        ("localhost", "/thumbor/unsafe/a", "deliver-thumbor /thumbor/unsafe/a"),
    ],
)
def test_a_host_named_after_a_service_serves_its_urls_at_the_root(
    edge: tuple[str, int], host: str, sent: str, received: str
) -> None:
    response = exchange(edge, f"GET {sent} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    assert response.body.decode().split(" ", 1)[1] == received


@pytest.mark.parametrize(("host", "status"), [("localhost:5000", 200), ("[::1]", 200), ("elsewhere.example", 421)])
def test_under_compose_the_edge_only_allows_this_machines_names(edge: tuple[str, int], host: str, status: int) -> None:
    assert exchange(edge, f"GET /api/v1/images HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).status == status


def test_the_edges_log_has_what_no_function_answered_and_no_url(
    edge: tuple[str, int], names: Names, tmp_path: Path
) -> None:
    secret, log = "k1.0f5c", tmp_path / "nginx/log"
    paths = {
        "deliver-image": f"/i/{secret}/w=1/x.jpg",
        "deliver-imgproxy": f"/imgproxy/{secret}/w:1/plain/x",
        "deliver-thumbor": f"/thumbor/{secret}/1x1/x",
    }

    def ask(path: str) -> int:
        return exchange(edge, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()).status

    names.address = "127.0.0.4"  # where nobody listens
    for path in paths.values():
        assert ask(path) == 503
    exchange(edge, f"GET /i/{secret} HTTP/9.9\r\n\r\n".encode())

    lines = wait_for(lambda: log.read_text().splitlines(), lambda lines: len(lines) >= len(paths))
    assert secret not in log.read_text()
    unanswered = [json.loads(line) for line in lines]
    assert [(each["event"], each["function"], each["upstream_status"]) for each in unanswered] == [
        ("request_unanswered", function, "502") for function in paths
    ]


def test_a_client_cannot_choose_the_address_that_the_edge_passes_on(
    names: Names, backends: list[Backend], tmp_path: Path
) -> None:
    client, proxy, forged, behind = "127.0.0.9", "127.0.0.8", "198.51.100.1", "203.0.113.9"
    expected = {
        (client, forged): client,
        (client, f"{forged}, {proxy}"): client,
        (proxy, behind): behind,
        (proxy, f"{forged}, {behind}"): behind,
        (proxy, f"{forged}, {behind}, 192.168.0.7"): behind,
    }
    names.address = "127.0.0.2"
    port, hosts, backend = backends[0].server_port, ROOT / "infra/compose/hosts-anonymous.conf", BACKENDS["functions"]
    started = run_edge(tmp_path / "nginx", backend, backend_port=port, dns_port=names.port, hosts=hosts, proxies=proxy)
    with started as url:
        address = "127.0.0.1", urlsplit(url).port or 0
        for method in ("GET", "TRACE"):
            head = f"{method} /api/v1/images HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: "
            passed_on = {
                (peer, sent): exchange(address, f"{head}{sent}\r\n\r\n".encode(), client=peer).headers["x-passed-on"]
                for peer, sent in expected
            }
            assert passed_on == expected, method


def test_limits_apply_to_each_client_behind_a_private_proxy() -> None:
    """By the proxy's address, all of its clients would share one limit."""
    configuration = (EDGE / "nginx.conf").read_text()
    trusted = [ip_network(found) for found in re.findall(r"set_real_ip_from (\S+);", configuration)]

    assert all(network.is_private for network in trusted)


def test_the_pod_has_disk_and_memory_for_its_maximum_load() -> None:
    configuration = (EDGE / "nginx.conf").read_text()

    def limit(expression: str) -> int:
        return int(re.findall(expression, configuration)[0])

    bodies = limit(r"limit_conn bodies (\d+);") * limit(r"client_max_body_size (\d+)m;")
    answers = limit(r"limit_conn requests (\d+);") * limit(r"proxy_max_temp_file_size (\d+)m;")
    stored = limit(r"max_size=(\d+)g") * 1024
    heads = limit(r"worker_processes (\d+);") * limit(r"worker_connections (\d+);") * 33 / 1024
    in_memory = limit(r"limit_conn requests (\d+);") * 64 / 1024
    [deployment] = [
        each for each in yaml.safe_load_all((EDGE / "edge.yaml").read_text()) if each["kind"] == "Deployment"
    ]
    pod = deployment["spec"]["template"]["spec"]
    [disk] = [each["emptyDir"]["sizeLimit"] for each in pod["volumes"] if each["name"] == "tmp"]
    memory = pod["containers"][0]["resources"]["limits"]["memory"]

    assert bodies + answers + stored < int(disk.removesuffix("Gi")) * 1024
    assert 2 * (heads + in_memory) < int(memory.removesuffix("Mi"))
