"""The server in front of a function: what it keeps, what it hands over, and whom it gives up."""

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
    """One request, and what comes back."""

    def __init__(self, pieces: Iterable[bytes], *headers: tuple[bytes, bytes], method: str = "POST") -> None:
        self._pieces = iter([*pieces])
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
        piece = next(self._pieces, None)
        if piece is None:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": piece, "more_body": piece != b""}

    async def send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")

    async def call(self, app: Application) -> None:
        await app(self.scope, self.receive, self.send)


def answering(*pieces: bytes, seen: "dict[str, Any] | None" = None) -> "WSGIApplication":
    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if seen is not None:
            seen.update(environ, body=environ["wsgi.input"].read())
        start_response("200 OK", [])
        return pieces

    return application


def test_a_function_gets_a_whole_body_whose_length_it_is_told() -> None:
    seen: dict[str, Any] = {}
    client = Client([b"ab", b"cd", b""], (b"transfer-encoding", b"chunked"), (b"x_under", b"1"), (b"x-dash", b"2"))

    asyncio.run(client.call(Application(answering(b"yes", seen=seen), threads=1, max_body=MIB)))

    assert (client.status, client.body) == (200, b"yes")
    assert (seen["body"], seen["CONTENT_LENGTH"]) == (b"abcd", "4")
    assert (seen["PATH_INFO"], seen["RAW_URI"], seen["QUERY_STRING"]) == ("/a/b", "/a%2Fb?c=d", "c=d")
    assert {name for name in seen if name.startswith("HTTP_")} == {"HTTP_HOST", "HTTP_X_DASH"}


def test_a_body_that_is_too_large_is_not_kept_and_its_length_still_tells() -> None:
    seen: dict[str, Any] = {}
    piece = bytes(MIB)
    client = Client([piece] * 48 + [b""], (b"transfer-encoding", b"chunked"))
    app = Application(answering(seen=seen), threads=1, max_body=MIB)
    tracemalloc.start()
    try:
        asyncio.run(client.call(app))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert seen["CONTENT_LENGTH"] == f"{48 * MIB}"
    assert len(seen["body"]) == MIB
    assert peak < 8 * MIB


def test_a_body_that_would_be_too_large_is_refused_before_it_is_sent() -> None:
    seen: dict[str, Any] = {}
    client = Client([], (b"content-length", b"%d" % (2 * MIB)), (b"expect", b"100-continue"))

    asyncio.run(client.call(Application(answering(seen=seen), threads=1, max_body=MIB)))

    assert (client.status, seen["CONTENT_LENGTH"]) == (200, f"{2 * MIB}")


def test_a_body_that_stops_on_its_way_is_given_up() -> None:
    client = Client([b"a"], (b"content-length", b"10"))

    impatient = Application(answering(), threads=1, max_body=MIB, body_patience=0.2)
    asyncio.run(asyncio.wait_for(client.call(impatient), 30))

    assert client.status == 408
    assert b"request_timeout" in client.body


def test_a_failing_application_is_answered_in_json() -> None:
    def fail(_environ: "WSGIEnvironment", _start_response: "StartResponse") -> Iterable[bytes]:
        raise ValueError("a secret")

    client = Client([b""], method="GET")

    asyncio.run(client.call(Application(fail, threads=1, max_body=MIB)))

    assert client.status == 500
    assert b"secret" not in client.body


def test_an_answer_in_pieces_is_not_read_further_than_its_client_reads() -> None:
    taken, closed = [], []

    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            for number in range(100):
                taken.append(number)
                yield bytes(MIB)

        def close(self) -> None:
            closed.append(True)

    def stream(_environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        start_response("200 OK", [])
        return Pieces()

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


def test_past_its_limit_a_backlog_gives_up_the_oldest() -> None:
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
        backlog = Backlog(limit=100, patience=60, least_rate=1)
        async with asyncio.TaskGroup() as group:
            for name in ("first", "second", "third"):
                group.create_task(keep(backlog, name, 45))

    asyncio.run(keep_three())

    assert ended == ["first"]
