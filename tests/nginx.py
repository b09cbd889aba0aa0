"""Run the nginx edge on this machine, with the configuration of a cluster, Compose or OpenFaaS."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from dnslib import QTYPE, RR, A, DNSRecord
from dnslib.server import DNSHandler, DNSLogger, DNSServer
from service import ROOT, find_free_port, wait_for

from infra.local import ports

EDGE = ROOT / "infra/k8s/components/nginx-edge"
HOSTS = EDGE / "hosts.conf"
BACKENDS = {
    "cluster": EDGE / "backend.conf",
    "compose": ROOT / "infra/compose/backend.conf",
    "openfaas": ROOT / "infra/openfaas/backend.conf",
}


class Names:
    """A DNS server that resolves every name to one address, with a TTL of an hour."""

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.server.stop()
        self.server.server.server_close()


@contextmanager
def run_edge(  # noqa: PLR0913  what may differ
    folder: Path, backend: Path, *, backend_port: int, dns_port: int, hosts: Path = HOSTS, most_requests: int = 1024
) -> Iterator[str]:
    """Run nginx with the edge's configuration and the given backend.conf. Yield its base URL.

    The only changes are the number of workers, the listening address, paths, the DNS server, the backend's port, and
    how many requests there may be at once.
    """
    port = find_free_port()
    folder.mkdir()
    _copy(EDGE / "functions.conf", folder / "functions.conf", {})
    _copy(hosts, folder / "hosts.conf", {})
    changes = {
        r"resolver \S+": f"resolver 127.0.0.1:{dns_port}",
        r"proxy_pass http://([^:/;]+)(:\d+)?": rf"proxy_pass http://\1:{backend_port}",
    }
    _copy(backend, folder / "backend.conf", changes)
    changes = {
        "worker_processes 2": "worker_processes 1",  # each has its own DNS cache
        "listen 8080": f"listen 127.0.0.1:{port}",
        "limit_conn requests 1024": f"limit_conn requests {most_requests}",
        "/tmp/": f"{folder}/",  # noqa: S108  # the path it replaces
    }
    _copy(EDGE / "nginx.conf", folder / "nginx.conf", changes)
    user = " user root;" if os.getuid() == 0 else ""  # nginx would drop root, and could not write here
    process = subprocess.Popen([_find_nginx(), "-c", folder / "nginx.conf", "-g", f"daemon off;{user}"])
    try:
        wait_for(lambda: ports.responds_to_http(port, path="/_/ready"), bool)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def _copy(source: Path, target: Path, changes: dict[str, str]) -> None:
    text = source.read_text()
    for expression, replacement in changes.items():
        text, count = re.subn(expression, replacement, text)
        assert count, f"{source} has no {expression}"
    target.write_text(text)


def _find_nginx() -> str:
    # Debian installs it in a directory that is only on root's PATH.
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert found, "The edge's tests need nginx: install it (Debian: sudo apt install nginx-light)."
    return found
