"""500 slow senders at the edge, and as many of them and of slow readers at the service itself, for ten minutes.

A part of `make check-security`. SLOW_SECONDS sets another duration.
"""

import os
import socket
import statistics
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field

from raw_http import connect, exchange

Address = tuple[str, int]
SECONDS = float(os.environ.get("SLOW_SECONDS", "600"))
CLIENTS = 500
MOST_SECONDS = 0.2
LIST = b"GET /api/v1/images?limit=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
FORM = b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 500000\r\n\r\n--b\r\nContent-Dis"
SEND = b"POST /api/v1/images/actions/upload HTTP/1.1\r\nHost: localhost\r\n" + FORM
READ = b"GET /api-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Crowd:
    """Clients from many addresses. Each sends a byte, or reads some, in a second. Who is refused comes again."""

    address: Address
    raw: bytes
    connections: dict[int, socket.socket] = field(default_factory=dict)
    came: Counter[str] = field(default_factory=Counter)

    def go_on(self) -> None:
        for number in range(CLIENTS):
            if number not in self.connections:
                client = f"127.0.{1 + number // 100}.{1 + number % 100}"
                self.connections[number] = connect(self.address, self.raw, client=client, receive_buffer=4096)
                self.connections[number].settimeout(0)
                self.came["connections"] += 1
            elif self._has_ended(self.connections[number]):
                self.connections.pop(number).close()

    def _has_ended(self, connection: socket.socket) -> bool:
        try:
            if self.raw is SEND:
                connection.send(b"x")
            return connection.recv(512 if self.raw is READ else 1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()


def time_request(address: Address) -> float:
    began = time.perf_counter()
    assert exchange(address, LIST, client="127.0.0.9").status == 200
    return time.perf_counter() - began


def test_slow_clients_do_not_delay_others_for_ten_minutes(nginx_edge: Address, gateway: Address) -> None:
    crowds = [Crowd(nginx_edge, SEND), Crowd(gateway, SEND), Crowd(gateway, READ)]
    times: dict[str, list[float]] = {"edge": [], "service": []}
    end = time.perf_counter() + SECONDS
    with closing(crowds[0]), closing(crowds[1]), closing(crowds[2]):
        for crowd in crowds:
            crowd.go_on()
        time.sleep(5)  # while they come, all their requests are answered
        while time.perf_counter() < end:
            second = time.perf_counter() + 1
            for crowd in crowds:
                crowd.go_on()
            for name, address in (("edge", nginx_edge), ("service", gateway)):
                times[name].append(time_request(address))
            time.sleep(max(0, second - time.perf_counter()))

    for name, found in times.items():
        p50, p99 = (round(statistics.quantiles(found, n=100)[place] * 1000) for place in (49, 98))
        print(f"{name}: {len(found)} requests, p50 {p50}, p99 {p99}, at most {max(found) * 1000:.0f} ms")  # noqa: T201  the result
        assert p99 <= MOST_SECONDS * 1000, name
    print("connections:", [crowd.came["connections"] for crowd in crowds])  # noqa: T201  (same)
