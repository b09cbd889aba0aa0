"""Run the nginx edge on this machine, with the configuration of a cluster, Compose or OpenFaaS."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from dnslib import QTYPE, RR, A, DNSRecord
from dnslib.server import DNSHandler, DNSLogger, DNSServer
from service import ROOT, find_free_port, wait_for

from infra.local import ports
from infra.local.edge import EDGE, change, configure, find_nginx

HOSTS = EDGE / "hosts.conf"
BACKENDS = {
    "cluster": EDGE / "backend.conf",
    "compose": ROOT / "infra/compose/backend.conf",
    "functions": ROOT / "infra/compose/backend-functions.conf",  # Compose with a container for each function
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
    folder: Path,
    backend: Path,
    *,
    backend_port: int,
    dns_port: int,
    hosts: Path = HOSTS,
    most_requests: int = 1024,
    proxies: str = "10.0.0.0/8",
) -> Iterator[str]:
    """Run nginx with the edge's configuration and the given backend.conf. Yield its base URL.

    Besides what `configure` changes, only the DNS server, the backend's port, how many requests there may be at once,
    and one network of proxies that it believes differ. Its log is in the folder.
    """
    port = find_free_port()
    folder.mkdir()
    changes = {
        r"resolver \S+": f"resolver 127.0.0.1:{dns_port}",
        r"proxy_pass http://([^:/;]+)(:\d+)?": rf"proxy_pass http://\1:{backend_port}",
    }
    options = configure(
        folder,
        f"127.0.0.1:{port}",
        change(backend.read_text(), changes),
        hosts.read_text(),
        {
            "limit_conn requests 1024": f"limit_conn requests {most_requests}",
            "set_real_ip_from 10.0.0.0/8": f"set_real_ip_from {proxies}",
        },
    )
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([find_nginx(os.environ["PATH"]), *options], stderr=log)
    try:
        wait_for(lambda: ports.responds_to_http(port, path="/_/ready"), bool)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)
