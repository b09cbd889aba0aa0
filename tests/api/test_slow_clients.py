"""Clients that keep the service waiting, 500 at a time, keep nobody else waiting."""

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from raw_http import connect, exchange

CLIENTS = 500
SECONDS = 1.0  # on a busy machine; it takes a few milliseconds on an idle one
ANOTHER_CLIENT = "127.0.0.9"  # the edge counts by address
PROBE = b"GET /api/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
LISTING = b"GET /api/v1/images HTTP/1.1\r\nHost: localhost\r\n"
FORM = b"Host: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 500000\r\n\r\n"
SLOW = {
    "silent": b"",
    "half a request line": b"GET /api/v1/ima",
    "half a header": LISTING + b"X-Slow: ",
    "half a body": b"POST /api/v1/images/actions/upload HTTP/1.1\r\n" + FORM + b"--b\r\nContent-Dis" + b"x" * 30_000,
    "half a body to an unknown path": b"POST /nothing HTTP/1.1\r\n" + FORM + b"x",
    "half a chunk": LISTING + b"Transfer-Encoding: chunked\r\n\r\n1000\r\nabc",
}


@pytest.fixture
def crowd() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("raw", SLOW.values(), ids=SLOW)
def test_slow_senders_keep_nobody_waiting(crowd: ExitStack, address: tuple[str, int], raw: bytes) -> None:
    for _ in range(CLIENTS):
        crowd.enter_context(connect(address, raw))

    assert _time_probes(address) < SECONDS


def test_slow_readers_keep_nobody_waiting(crowd: ExitStack, front_door: tuple[str, int]) -> None:
    request = b"GET /api-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"  # 1.4 MB
    readers = [crowd.enter_context(connect(front_door, request, receive_buffer=4096)) for _ in range(CLIENTS)]
    for reader in readers:
        assert reader.recv(12) == b"HTTP/1.1 200"  # and no more than the first few bytes

    assert _time_probes(front_door) < SECONDS


def _time_probes(address: tuple[str, int]) -> float:
    """Seconds that a request takes which needs nothing but the server: the median of several."""
    times = []
    for _ in range(15):
        began = time.perf_counter()
        answer = exchange(address, PROBE, client=ANOTHER_CLIENT)
        assert answer.status in (200, 404)  # a function alone has no such path
        times.append(time.perf_counter() - began)
    return statistics.median(times)
