"""The server in front of a function: it buffers requests and responses, gives up slow clients, and sheds load."""

import asyncio
import threading
import time
import tracemalloc
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from shared_lib.server.application import Application
from shared_lib.server.backlog import Backlog
from shared_lib.server.limiter import MAX_WAIT_SECONDS, QUEUE_SECONDS, Limiter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MIB = 2**20
Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run it on a thread of its own: in the main thread, Playwright may have an event loop for other tests."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


class Client:
    """One request, and its response."""

    def __init__(self, chunks: Iterable[bytes], *headers: tuple[bytes, bytes], method: str = "POST") -> None:
        self._chunks = iter([*chunks])
        self.scope: Any = {
            "type": "http",
            "method": method,
            "http_version": "1.1",
            "scheme": "http",
            "path": "/a/b",
            "raw_path": b"/a%2Fb",
            "query_string": b"c=d",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 5),
            "headers": [(b"host", b"localhost"), *headers],
        }
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""

    async def receive(self) -> Any:
        chunk = next(self._chunks, None)
        if chunk is None:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": chunk, "more_body": chunk != b""}

    async def send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.headers.update(message.get("headers", ()))
        self.body += message.get("body", b"")

    async def call(self, app: Application) -> None:
        await app(self.scope, self.receive, self.send)


def serve(application: "WSGIApplication", limiter: Limiter | None = None, **options: float) -> Application:
    only = limiter or Limiter(1)
    return Application(application, limiter_of=lambda _scope: only, threads=only.threads, max_body=MIB, **options)


def respond_with(*chunks: bytes, seen: "dict[str, Any] | None" = None) -> "WSGIApplication":
    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if seen is not None:
            seen.update(environ, body=environ["wsgi.input"].read())
        start_response("200 OK", [])
        return chunks

    return application


def test_a_function_receives_the_complete_body_with_its_length() -> None:
    seen: dict[str, Any] = {}
    client = Client([b"ab", b"cd", b""], (b"transfer-encoding", b"chunked"), (b"x_under", b"1"), (b"x-dash", b"2"))

    run(client.call(serve(respond_with(b"yes", seen=seen))))

    assert (client.status, client.body) == (200, b"yes")
    assert (seen["body"], seen["CONTENT_LENGTH"]) == (b"abcd", "4")
    assert (seen["PATH_INFO"], seen["RAW_URI"], seen["QUERY_STRING"]) == ("/a/b", "/a%2Fb?c=d", "c=d")
    assert {name for name in seen if name.startswith("HTTP_")} == {"HTTP_HOST", "HTTP_X_DASH"}


def test_a_body_that_is_too_large_is_not_kept_but_its_full_length_is_reported() -> None:
    seen: dict[str, Any] = {}
    chunk = bytes(MIB)
    client = Client([chunk] * 48 + [b""], (b"transfer-encoding", b"chunked"))
    app = serve(respond_with(seen=seen))
    tracemalloc.start()
    try:
        run(client.call(app))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert seen["CONTENT_LENGTH"] == f"{48 * MIB}"
    assert len(seen["body"]) == MIB
    assert peak < 8 * MIB


def test_the_application_can_reject_a_body_by_its_length_before_it_is_sent() -> None:
    seen: dict[str, Any] = {}
    client = Client([], (b"content-length", b"%d" % (2 * MIB)), (b"expect", b"100-continue"))

    run(client.call(serve(respond_with(seen=seen))))

    assert (client.status, seen["CONTENT_LENGTH"]) == (200, f"{2 * MIB}")


def test_a_request_whose_body_stops_arriving_gets_408() -> None:
    client = Client([b"a"], (b"content-length", b"10"))

    application = serve(respond_with(), body_grace=0.2)
    run(asyncio.wait_for(client.call(application), 30))

    assert client.status == 408
    assert b"request_timeout" in client.body


def test_an_application_that_fails_becomes_a_500_that_shows_nothing_internal() -> None:
    def fail(_environ: "WSGIEnvironment", _start_response: "StartResponse") -> Iterable[bytes]:
        raise ValueError("a secret")

    client = Client([b""], method="GET")

    run(client.call(serve(fail)))

    assert client.status == 500
    assert b"secret" not in client.body


def test_a_streamed_response_is_read_no_further_than_the_client_reads() -> None:
    taken, closed = [], []

    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            for number in range(100):
                taken.append(number)
                yield bytes(MIB)

        def close(self) -> None:
            closed.append(True)

    def stream(_environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        start_response("200 OK", [])
        return Chunks()

    class Stuck(Client):
        async def send(self, message: Any) -> None:
            await super().send(message)
            if len(self.body) > 3 * MIB:
                await asyncio.sleep(60)

    async def give_up_soon(client: Client) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.call(serve(stream)), 1)

    run(give_up_soon(Stuck([b""], method="GET")))

    assert len(taken) < 6
    assert closed


def test_a_backlog_beyond_its_limit_gives_up_the_oldest_client() -> None:
    ended: list[str] = []

    async def keep(backlog: Backlog, name: str, size: int) -> None:
        try:
            async with asyncio.timeout(None) as deadline:
                with backlog.enter(deadline) as entry:
                    backlog.keep(entry, size)
                    await asyncio.sleep(0.2)
        except TimeoutError:
            ended.append(name)

    async def keep_three() -> None:
        backlog = Backlog(limit=100, grace=60, min_rate=1)
        async with asyncio.TaskGroup() as group:
            for name in ("first", "second", "third"):
                group.create_task(keep(backlog, name, 45))

    run(keep_three())

    assert ended == ["first"]


def work_for(seconds: float) -> "WSGIApplication":
    def application(_environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        time.sleep(seconds)
        start_response("200 OK", [])
        return []

    return application


async def call_all(app: Application, count: int) -> list[Client]:
    clients = [Client([b""], method="GET") for _ in range(count)]
    await asyncio.gather(*(client.call(app) for client in clients))
    return clients


def test_only_as_many_requests_wait_as_can_be_handled_soon() -> None:
    app = serve(work_for(0.1), Limiter(2))

    async def overload() -> tuple[list[Client], float]:
        await call_all(app, 30)  # so that the limiter knows how long one takes
        began = time.monotonic()
        return await call_all(app, 60), time.monotonic() - began

    clients, seconds = run(overload())

    served = [client.status for client in clients].count(200)
    assert 2 * QUEUE_SECONDS / 0.12 <= served <= 2 * QUEUE_SECONDS / 0.1 + 6
    assert {client.status for client in clients} == {200, 503}
    assert seconds < QUEUE_SECONDS + 1


def test_a_request_is_refused_before_its_body_arrives_and_its_client_is_told_when_to_come_back() -> None:
    started, done = threading.Event(), threading.Event()

    def wait(_environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        started.set()
        done.wait(10)
        start_response("200 OK", [])
        return []

    async def overload() -> tuple[Client, float]:
        limiter = Limiter(1)
        app = serve(wait, limiter)
        waiting = asyncio.gather(*(Client([b""], method="GET").call(app) for _ in range(40)))
        await asyncio.to_thread(started.wait, 10)
        late = Client([b"only the first of many"], (b"content-length", b"1000000"))
        began = time.monotonic()
        await asyncio.wait_for(late.call(app), 5)
        seconds = time.monotonic() - began
        done.set()
        await waiting
        return late, seconds

    late, seconds = run(overload())

    assert late.status == 503
    assert 1 <= int(late.headers[b"Retry-After"]) <= 5
    assert b"Connection" not in late.headers
    assert b'"code": "busy"' in late.body
    assert seconds < 0.1


def test_a_request_that_waits_for_much_longer_than_expected_is_refused() -> None:
    app = serve(work_for(MAX_WAIT_SECONDS + 1), Limiter(1))

    statuses = sorted(client.status for client in run(call_all(app, 3)))

    assert statuses == [200, 503, 503]


def test_a_limiter_that_does_not_shed_lets_all_requests_wait() -> None:
    app = serve(work_for(0.03), Limiter(1, shed=False))

    assert {client.status for client in run(call_all(app, 80))} == {200}
