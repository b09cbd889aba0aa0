"""500 slow clients at a time don't delay others."""

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from raw_http import connect, exchange, read_response
from service import make_photo

CLIENTS = 500
MOST_IDLE = 1_500  # more than a server keeps
SECONDS = 1.0  # on a busy machine. An idle one needs a few milliseconds
ANOTHER_CLIENT = "127.0.0.9"  # nginx counts connections by address
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
def test_slow_senders_do_not_delay_other_clients(crowd: ExitStack, address: tuple[str, int], raw: bytes) -> None:
    for _ in range(CLIENTS):
        crowd.enter_context(connect(address, raw))

    assert _time_probes(address) < SECONDS


def test_slow_readers_do_not_delay_other_clients(crowd: ExitStack, gateway: tuple[str, int]) -> None:
    request = b"GET /api-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"  # 1.4 MB
    for _ in range(CLIENTS):
        reader = crowd.enter_context(connect(gateway, request, receive_buffer=4096))
        assert reader.recv(12) == b"HTTP/1.1 200"  # and no more than the first few bytes

    assert _time_probes(gateway) < SECONDS


def test_idle_clients_do_not_end_an_upload_that_goes_on(crowd: ExitStack, gateway: tuple[str, int]) -> None:
    photo = make_photo() + bytes(300_000)  # what follows a JPEG is ignored
    disposition = 'Content-Disposition: form-data; name="file"; filename="slow.jpg"\r\nContent-Type: image/jpeg'
    body = f"--b\r\n{disposition}\r\n\r\n".encode() + photo + b"\r\n--b--\r\n"
    head = "POST /api/v1/images/actions/upload HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
    upload = crowd.enter_context(connect(gateway, head.encode()))
    pieces = [body[start : start + 4_000] for start in range(0, len(body), 4_000)]
    idle = 0
    for piece in pieces:  # 60 kB a second
        upload.sendall(piece)
        until = time.monotonic() + len(piece) / 60_000
        while time.monotonic() < until and idle < MOST_IDLE:
            crowd.enter_context(connect(gateway))
            idle += 1
        time.sleep(max(until - time.monotonic(), 0))

    assert idle == MOST_IDLE
    assert read_response(upload).status == 200


def _time_probes(address: tuple[str, int]) -> float:
    """Return the median duration, in seconds, of several requests that need only the server."""
    times = []
    for _ in range(15):
        began = time.perf_counter()
        response = exchange(address, PROBE, client=ANOTHER_CLIENT)
        assert response.status in (200, 404)  # a single function has no such path
        times.append(time.perf_counter() - began)
    return statistics.median(times)
