"""The server in front of a function: it buffers requests and responses, and gives up slow clients."""

import asyncio
import tracemalloc
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from shared_lib.server.application import Application
from shared_lib.server.backlog import Backlog

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MIB = 2**20


class Client:
    """One request, and its response."""

    def __init__(self, chunks: Iterable[bytes], *headers: tuple[bytes, bytes], method: str = "POST") -> None:
        self._chunks = iter([*chunks])
        self.scope: Any = {
            "type": "http",
            "method": method,
            "http_version": "1.1",
            "scheme": "http",
            "raw_path": b"/a%2Fb",
            "query_string": b"c=d",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 5),
            "headers": [(b"host", b"localhost"), *headers],
        }
        self.status = 0
        self.body = b""

    async def receive(self) -> Any:
        chunk = next(self._chunks, None)
        if chunk is None:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": chunk, "more_body": chunk != b""}

    async def send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")

    async def call(self, app: Application) -> None:
        await app(self.scope, self.receive, self.send)


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

    asyncio.run(client.call(Application(respond_with(b"yes", seen=seen), threads=1, max_body=MIB)))

    assert (client.status, client.body) == (200, b"yes")
    assert (seen["body"], seen["CONTENT_LENGTH"]) == (b"abcd", "4")
    assert (seen["PATH_INFO"], seen["RAW_URI"], seen["QUERY_STRING"]) == ("/a/b", "/a%2Fb?c=d", "c=d")
    assert {name for name in seen if name.startswith("HTTP_")} == {"HTTP_HOST", "HTTP_X_DASH"}


def test_a_body_that_is_too_large_is_not_kept_but_its_full_length_is_reported() -> None:
    seen: dict[str, Any] = {}
    chunk = bytes(MIB)
    client = Client([chunk] * 48 + [b""], (b"transfer-encoding", b"chunked"))
    app = Application(respond_with(seen=seen), threads=1, max_body=MIB)
    tracemalloc.start()
    try:
        asyncio.run(client.call(app))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert seen["CONTENT_LENGTH"] == f"{48 * MIB}"
    assert len(seen["body"]) == MIB
    assert peak < 8 * MIB


def test_the_application_can_reject_a_body_by_its_length_before_it_is_sent() -> None:
    seen: dict[str, Any] = {}
    client = Client([], (b"content-length", b"%d" % (2 * MIB)), (b"expect", b"100-continue"))

    asyncio.run(client.call(Application(respond_with(seen=seen), threads=1, max_body=MIB)))

    assert (client.status, seen["CONTENT_LENGTH"]) == (200, f"{2 * MIB}")


def test_a_request_whose_body_stops_arriving_gets_408() -> None:
    client = Client([b"a"], (b"content-length", b"10"))

    application = Application(respond_with(), threads=1, max_body=MIB, body_grace=0.2)
    asyncio.run(asyncio.wait_for(client.call(application), 30))

    assert client.status == 408
    assert b"request_timeout" in client.body


def test_an_application_that_fails_becomes_a_500_that_shows_nothing_internal() -> None:
    def fail(_environ: "WSGIEnvironment", _start_response: "StartResponse") -> Iterable[bytes]:
        raise ValueError("a secret")

    client = Client([b""], method="GET")

    asyncio.run(client.call(Application(fail, threads=1, max_body=MIB)))

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
            await asyncio.wait_for(client.call(Application(stream, threads=1, max_body=MIB)), 1)

    asyncio.run(give_up_soon(Stuck([b""], method="GET")))

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

    asyncio.run(keep_three())

    assert ended == ["first"]
