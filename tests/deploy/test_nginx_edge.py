"""The nginx edge, run by nginx itself, finds its backend by name."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from dnslib import QTYPE, RR, A, DNSRecord
from dnslib.server import DNSHandler, DNSLogger, DNSServer
from nginx import BACKENDS, run_edge
from service import find_free_port, wait_for


class Names:
    """A cluster's DNS of which every name leads to one address, and which would have it kept for an hour."""

    def __init__(self) -> None:
        self.address = ""
        self.port = find_free_port()
        self.server = DNSServer(self, address="127.0.0.1", port=self.port, logger=DNSLogger("-request,-reply"))
        self.server.start_thread()

    def resolve(self, request: DNSRecord, _handler: DNSHandler) -> DNSRecord:
        reply = request.reply()
        if request.q.qtype == QTYPE.A:
            reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(self.address), ttl=3600))
        return reply


class Backend(ThreadingHTTPServer):
    """Tells which address was asked, and for which host and path."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__((address, port), _Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def answer(self) -> None:
        body = f"{self.connection.getsockname()[0]} {self.headers['Host']} {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", f"{len(body)}")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_TRACE = answer  # noqa: N815  # names that http.server looks for

    def log_message(self, *_line: object) -> None:
        """Say nothing."""


@pytest.fixture
def names() -> Iterator[Names]:
    names = Names()
    yield names
    names.server.stop()
    names.server.server.server_close()


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
    def ask(url: str, method: str = "GET") -> list[str]:
        return requests.request(method, f"{url}/api/v1/images?x=%2F", timeout=10).text.split(" ")

    names.address = "127.0.0.2"
    port = backends[0].server_port
    with run_edge(tmp_path / "nginx", BACKENDS[variant], backend_port=port, dns_port=names.port) as url:
        assert ask(url) == ["127.0.0.2", HOSTS[variant], PATHS[variant]]
        assert ask(url, "TRACE")[0] == "127.0.0.2"
        names.address = "127.0.0.3"
        moved = wait_for(lambda: ask(url), lambda seen: seen[0] == "127.0.0.3")
        assert moved == ["127.0.0.3", HOSTS[variant], PATHS[variant]]


HOSTS = {
    "cluster": "list-images.image-processing.svc.cluster.local",
    "compose": "list-images",
    "openfaas": "list-images",
}
PATHS = {
    "cluster": "/api/v1/images?x=%2F",
    "compose": "/api/v1/images?x=%2F",
    "openfaas": "/function/list-images/api/v1/images?x=%2F",
}
