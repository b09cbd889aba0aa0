"""A WSGI application behind an asynchronous server, so that a slow client never keeps a thread.

The application sees a request when all of it is there, and what it answers goes out as fast as the client takes it:
threads do nothing but the application's own work. Small bodies wait in memory, larger ones in a temporary file.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, NamedTuple, TypeVar

from shared_lib import observability
from shared_lib.server.backlog import Backlog, Entry
from shared_lib.server.environ import make_environ
from shared_lib.server.refusals import Headers, Refused, check_head, make_refusal

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

log = observability.get_logger()
Result = TypeVar("Result")

IN_MEMORY = 64 * 1024  # bytes of a body; what is longer goes into a file
MAX_DRAINED = 64 * 1024 * 1024  # bytes read and thrown away, so that a client that sends too much gets to read why
PIECE = 256 * 1024  # bytes of an answer that are handed over at once
# A client may be as slow as a bad mobile connection.
LEAST_RATE = 8 * 1024  # bytes/s
BODY_PATIENCE = 20.0  # seconds before the rate counts
ANSWER_PATIENCE = 60.0
MAX_ARRIVING = 256 * 1024 * 1024  # bytes of bodies that are not whole yet: half of a pod's disk
MAX_LEAVING = 64 * 1024 * 1024  # bytes of answers that clients have not read: a quarter of a small pod's memory


class ClientGone(Exception):
    """The connection closed before the request was whole."""


class Answer(NamedTuple):
    """What the application answers: its first bytes, and what brings the rest, if there is more."""

    status: int
    headers: Headers
    piece: bytes
    rest: Iterator[bytes] | None = None
    close: Callable[[], object] | None = None


class Application:
    """ASGI on the outside. A body of more than `max_body` bytes is cut off; its Content-Length still tells."""

    def __init__(
        self, application: "WSGIApplication", *, threads: int, max_body: int, body_patience: float = BODY_PATIENCE
    ) -> None:
        self._application = application
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._max_body = max_body
        self._arriving = Backlog(limit=MAX_ARRIVING, patience=body_patience, least_rate=LEAST_RATE)
        self._leaving = Backlog(limit=MAX_LEAVING, patience=ANSWER_PATIENCE, least_rate=LEAST_RATE)

    async def __call__(self, scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        if scope["type"] != "http":
            raise TypeError(f"This serves HTTP, not {scope['type']}")
        with SpooledTemporaryFile(IN_MEMORY) as file:
            try:
                size = await self._read_body(scope, receive, file)
                check_head(scope)  # now, for who is still sending might not read a refusal
                answer = await self._in_thread(self._call, make_environ(scope, file, size))
            except ClientGone:
                return
            except Refused as refused:
                answer = Answer(refused.status, *make_refusal(refused.status, f"{refused}"))
            except Exception:
                log.exception("application_failed")
                answer = Answer(500, *make_refusal(500, "Something went wrong on our side"))
            try:
                await self._send_answer(answer, receive, send)
            finally:
                if answer.close:
                    await self._in_thread(answer.close)

    async def _in_thread(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def _read_body(self, scope: "HTTPScope", receive: "ASGIReceiveCallable", file: IO[bytes]) -> int | None:
        """The body's size in bytes, None if there is none."""
        headers = dict(scope["headers"])
        declared = int(headers.get(b"content-length", 0))
        if declared > self._max_body and headers.get(b"expect", b"").lower() == b"100-continue":
            return declared  # the application refuses it before it is sent
        try:
            async with asyncio.timeout(None) as deadline:
                received = await self._receive(receive, file, deadline)
        except TimeoutError:
            raise Refused(408, "The body took too long to arrive") from None
        file.seek(0)
        return max(declared, received) if headers.keys() & {b"content-length", b"transfer-encoding"} else None

    async def _receive(self, receive: "ASGIReceiveCallable", file: IO[bytes], deadline: asyncio.Timeout) -> int:
        """Read a body to its end, within reason; keep as much of it as may be. Its size in bytes."""
        size, more = 0, True
        with self._arriving.enter(deadline) as entry:
            while more and size <= MAX_DRAINED:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGone
                piece, more = message["body"], message["more_body"]
                size += len(piece)
                entry.advance(len(piece))
                if size <= self._max_body:
                    self._arriving.keep(entry, len(piece))
                    file.write(piece)
        return size

    def _call(self, environ: "WSGIEnvironment") -> Answer:
        """Call the application, and take the first piece of what it answers. In a thread."""
        said: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], _error: object = None
        ) -> Callable[[bytes], object]:
            said[:] = [(status, headers)]
            return _refuse_to_write

        iterable = self._application(environ, start_response)
        close: Callable[[], object] | None = getattr(iterable, "close", None)
        try:
            piece, rest = _take(iter(iterable))
            [(status, headers)] = said
        except BaseException:
            if close:
                close()
            raise
        if rest is None and close:
            close()
        named = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return Answer(int(status[:3]), named, piece, rest, close if rest else None)

    async def _send_answer(self, answer: Answer, receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        """Returns early when the client is gone or too slow: the server then closes the connection."""
        gone = asyncio.ensure_future(receive()) if answer.rest else None
        try:
            async with asyncio.timeout(None) as deadline:
                with self._leaving.enter(deadline) as entry:
                    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
                    piece, rest = answer.piece, answer.rest
                    await self._send_piece(piece, entry, send, more=rest is not None)
                    while rest and gone and not gone.done():
                        piece, rest = await self._in_thread(_take, rest)
                        await self._send_piece(piece, entry, send, more=rest is not None)
        except TimeoutError:
            return
        finally:
            if gone:
                gone.cancel()

    async def _send_piece(self, piece: bytes, entry: Entry, send: "ASGISendCallable", *, more: bool) -> None:
        self._leaving.keep(entry, len(piece))
        for start in range(0, max(len(piece), 1), PIECE):
            part = piece[start : start + PIECE]
            await send({"type": "http.response.body", "body": part, "more_body": more or start + PIECE < len(piece)})
            self._leaving.keep(entry, -len(part))
            entry.advance(len(part))


def _take(pieces: Iterator[bytes]) -> tuple[bytes, Iterator[bytes] | None]:
    """The next bytes, at least PIECE of them unless it is the end; and what brings more."""
    taken, size = [], 0
    for piece in pieces:
        taken.append(piece)
        size += len(piece)
        if size >= PIECE:
            return b"".join(taken), pieces
    return b"".join(taken), None


def _refuse_to_write(_data: bytes) -> object:
    raise RuntimeError("An application returns what is to be sent")
