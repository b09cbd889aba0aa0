"""A busy function refuses what it can't do soon, at once. It delays no other function."""

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
import requests
from raw_http import connect, exchange, read_response
from service import ENVIRONMENT, ROOT, Api, ExternalPlatform, Platform, find_free_port, make_photo, wait_for

from shared_lib.runtime import Runtime
from shared_lib.server.limiter import MAX_WAIT_SECONDS
from shared_lib.web import openapi

Address = tuple[str, int]
Serve = Callable[[str], Address]
PROBE = b"GET /_/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = (
    b"POST /api/v1/images/actions/upload HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n"
)
EVENT = (
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    b"ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /test\r\nce-type: test\r\n\r\n{}"
)


@pytest.fixture
def serve_slowly(platform: Platform) -> Iterator[Serve]:
    """Serve a function with one thread, and a database that takes connections and never responds."""
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=200))
        url = f"postgresql://a:b@127.0.0.1:{silent.getsockname()[1]}/c?sslmode=disable"

        def serve(name: str) -> Address:
            port = find_free_port()
            environ = ENVIRONMENT | platform.environment
            environ |= {"DATABASE_URL": url, "DATABASE_STATEMENT_TIMEOUT_SECONDS": "0.1", "THREADS": "1"}
            environ |= {"HOST": "127.0.0.1", "PORT": f"{port}", "FUNCTION_TARGET": "main"}
            environ |= {"FUNCTION_SOURCE": f"{ROOT / 'functions' / name / 'main.py'}", "GRACEFUL_SECONDS": "0"}
            process = subprocess.Popen([sys.executable, "-m", "shared_lib.server"], cwd=ROOT, env=environ)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
            wait_for(lambda: _responds(port), bool, 60)
            return "127.0.0.1", port

        yield serve


def _responds(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/_/ready", timeout=10).status_code == 204
    except requests.ConnectionError:
        return False


@contextmanager
def crowd(address: Address, raw: bytes, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(connect(address, raw)) for _ in range(count)]


def test_a_busy_function_refuses_an_upload_before_its_body_arrives(serve_slowly: Serve) -> None:
    function = serve_slowly("upload_image")
    body = _form()
    with crowd(function, HEAD % len(body) + body, 30), connect(function) as late:
        time.sleep(0.2)
        began = time.monotonic()
        late.sendall(HEAD % 100_000 + b"--b\r\n")
        response = read_response(late)
        seconds = time.monotonic() - began

        assert response.status == 503
        assert seconds < 0.5  # on a busy machine. An idle one needs a few milliseconds
        assert 1 <= int(response.headers["retry-after"]) <= 5
        assert response.json() == _example("upload_image")
        assert exchange(function, PROBE).status == 204  # a probe has a thread of its own

        late.sendall(b"x" * 99_995 + PROBE)  # the rest of the body is discarded, and the connection can be used again
        assert read_response(late).status == 204


def _form() -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    return head + make_photo() + b"\r\n--b--\r\n"


def _example(operation_id: str) -> object:
    """Return what OpenAPI shows for a busy function."""
    operations = [each for path in openapi.load()["paths"].values() for each in path.values()]
    [found] = [each["responses"]["503"] for each in operations if each["operationId"] == operation_id]
    assert "Retry-After" in found["headers"]
    return found["content"]["application/json"]["examples"]["busy"]["value"]


def test_a_busy_function_refuses_no_event(serve_slowly: Serve) -> None:
    """Each refusal would use up one of the few retries of an event."""
    function = serve_slowly("record_dead_letter")
    with crowd(function, EVENT, 5) as senders:
        bodies = [read_response(sender).body for sender in senders]

    assert not [body for body in bodies if b"busy" in body]


def test_uploads_beyond_capacity_are_refused_and_delay_no_reads(platform: Platform, api: Api, rt: Runtime) -> None:
    if isinstance(platform, ExternalPlatform):
        pytest.skip("the edge in front of it limits each client")
    files = {"file": ("a.jpg", make_photo(), "image/jpeg")}

    def upload(_number: int) -> requests.Response:
        return requests.post(f"{api.base}/images/actions/upload", files=files, timeout=30)

    with ThreadPoolExecutor(150) as clients:
        with rt.database.transaction() as tx:
            tx.rows("LOCK TABLE images IN EXCLUSIVE MODE")  # inserts wait, and reads don't
            uploads = [clients.submit(upload, number) for number in range(150)]
            time.sleep(MAX_WAIT_SECONDS + 0.5)
            seconds = [_time_read(api) for _ in range(5)]
        responses = [each.result() for each in uploads]

    assert statistics.median(seconds) < 0.5  # on a busy machine
    assert {response.status_code for response in responses} == {200, 503}
    refused = [response for response in responses if response.status_code == 503]
    assert "busy" in {response.json()["code"] for response in refused}
    assert all("Retry-After" in response.headers for response in refused)


def _time_read(api: Api) -> float:
    response = api("GET", "/images?limit=1&include=none")
    assert response.status_code == 200
    return response.elapsed.total_seconds()
