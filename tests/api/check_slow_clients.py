"""500 slow senders and 500 slow readers at the edge for ten minutes, with the whole service behind it.

They come within ten seconds: 1,000 requests at once would be overload, however slow they are. A part of
`make check-security`. SLOW_SECONDS sets another duration.
"""

import os
import socket
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from nginx import BACKENDS, Names, run_edge
from raw_http import connect, exchange
from service import ROOT, Platform

Address = tuple[str, int]
SECONDS = float(os.environ.get("SLOW_SECONDS", "600"))
CLIENTS = 500
ARRIVALS = 50  # of each kind in a second
MOST_SECONDS = 0.2
PROBES = {
    "health": b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "list": b"GET /api/v1/images?limit=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
}
FORM = b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 500000\r\n\r\n--b\r\nContent-Dis"
SEND = b"POST /api/v1/images/actions/upload HTTP/1.1\r\nHost: localhost\r\n" + FORM
READ = b"GET /api-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"  # 1.4 MB


@pytest.fixture
def edge(platform: Platform, tmp_path: Path) -> Iterator[Address]:
    """Run nginx as Compose does, with the whole service behind it, which selects the function once more."""
    hosts = ROOT / "infra/compose/hosts-anonymous.conf"
    port = urlsplit(platform.url).port or 0
    with Names() as names:
        names.address = "127.0.0.1"
        with run_edge(
            tmp_path / "nginx", BACKENDS["compose"], backend_port=port, dns_port=names.port, hosts=hosts
        ) as url:
            yield "127.0.0.1", urlsplit(url).port or 0


@dataclass
class Crowd:
    """Clients from many addresses. Each sends a byte, or reads some, in a second. Who is refused comes again."""

    address: Address
    raw: bytes
    connections: dict[int, socket.socket] = field(default_factory=dict)
    came: int = 0
    answers: Counter[bytes] = field(default_factory=Counter)

    def go_on(self) -> None:
        arriving = len(self.connections) + ARRIVALS
        for number in range(CLIENTS):
            if number not in self.connections:
                if len(self.connections) == arriving:
                    continue
                client = f"127.0.{1 + number // 100}.{1 + number % 100}"
                self.connections[number] = connect(self.address, self.raw, client=client, receive_buffer=4096)
                self.connections[number].settimeout(0)
                self.came += 1
            elif self._has_ended(self.connections[number]):
                self.connections.pop(number).close()

    def _has_ended(self, connection: socket.socket) -> bool:
        try:
            if self.raw is SEND:
                connection.send(b"x")
            received = connection.recv(512)
        except BlockingIOError:
            return False
        except OSError:
            return True
        if received.startswith(b"HTTP/1.1 "):
            self.answers[received[9:12]] += 1
        return received == b"" or received.startswith(b"HTTP/1.1 429")

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()


def time_request(address: Address, raw: bytes) -> tuple[float, int]:
    began = time.perf_counter()
    response = exchange(address, raw, client="127.0.0.9")
    return time.perf_counter() - began, response.status


def find_processes_of(machine: Platform) -> set[psutil.Process]:
    """Find the service's processes, but the sandbox's workers, which come and go."""
    children = psutil.Process(machine.process.pid).children()
    return {each for child in children for each in (child, *child.children()) if each.is_running()}


def test_slow_clients_do_not_delay_others_at_the_edge_for_ten_minutes(edge: Address, platform: Platform) -> None:
    processes = find_processes_of(platform)
    senders, readers = Crowd(edge, SEND), Crowd(edge, READ)
    answers: dict[str, list[tuple[float, int]]] = {name: [] for name in PROBES}
    for raw in PROBES.values():
        time_request(edge, raw)  # the first one opens connections
    end = time.perf_counter() + SECONDS
    with closing(senders), closing(readers):
        while time.perf_counter() < end:
            second = time.perf_counter() + 1
            senders.go_on()
            readers.go_on()
            for name, raw in PROBES.items():
                answers[name].append(time_request(edge, raw))
            time.sleep(max(0, second - time.perf_counter()))

    print("\nsenders came", senders.came, dict(senders.answers), "readers came", readers.came, dict(readers.answers))  # noqa: T201  the result
    for name, found in answers.items():
        times = [seconds for seconds, _ in found]
        p50, p99 = (round(statistics.quantiles(times, n=100)[place] * 1000) for place in (49, 98))
        late = [number for number, seconds in enumerate(times) if seconds > MOST_SECONDS]  # there is one a second
        print(f"{name}: {len(found)} requests, p50 {p50}, p99 {p99}, at most {max(times) * 1000:.0f} ms, late {late}")  # noqa: T201  (same)
        assert {status for _, status in found} == {200}, name
        assert p99 <= MOST_SECONDS * 1000, name
    assert find_processes_of(platform) >= processes, "a process was started anew"
