"""Run a WSGI application behind an asynchronous server, so that a slow client never occupies a thread.

The application receives a request once it is complete, and its response is sent as fast as the client reads. Threads do
only the application's own work. Small bodies wait in memory, larger ones in a temporary file. A limiter decides at the
arrival of a request whether it is refused, so clients learn at once that the service is busy.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, NamedTuple, TypeVar

from shared_lib import metrics, observability, tracing
from shared_lib.server.backlog import Backlog, Entry
from shared_lib.server.environ import make_environ
from shared_lib.server.errors import Headers, RequestError, check_head, render_error
from shared_lib.server.limiter import Limiter

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

log = observability.get_logger()
Result = TypeVar("Result")
LimiterOf = Callable[["HTTPScope"], Limiter]

MAX_IN_MEMORY = 512 * 1024  # bytes of a body; a longer one goes into a file. 64 MiB for 128 connections
MAX_DRAINED = 64 * 1024 * 1024  # bytes read and discarded, so that a client that sends too much can read the error
CHUNK = 256 * 1024  # bytes of a response that are sent at once
# A client may be as slow as a bad mobile connection.
MIN_RATE = 8 * 1024  # bytes/s
BODY_GRACE = 20.0  # seconds before the rate counts
RESPONSE_GRACE = 60.0
MAX_ARRIVING = 256 * 1024 * 1024  # bytes of incomplete bodies: a quarter of a pod's disk
MAX_LEAVING = 64 * 1024 * 1024  # bytes of responses that clients have not read: a quarter of a small pod's memory


class ClientGone(Exception):
    """The connection closed before the request was complete."""


class Response(NamedTuple):
    """The application's response: its first bytes, and an iterator of the rest, if there is more."""

    status: int
    headers: Headers
    chunk: bytes
    rest: Iterator[bytes] | None = None
    close: Callable[[], object] | None = None


class Application:
    """An ASGI application. It cuts a body off at `max_body` bytes; its Content-Length still has the full size."""

    def __init__(
        self,
        application: "WSGIApplication",
        *,
        limiter_of: "LimiterOf",
        threads: int,
        max_body: int,
        body_grace: float = BODY_GRACE,
    ) -> None:
        """`threads` is the sum of what the limiters allow."""
        self._application = application
        self._limiter_of = limiter_of
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._max_body = max_body
        self._arriving = Backlog(limit=MAX_ARRIVING, grace=body_grace, min_rate=MIN_RATE)
        self._leaving = Backlog(limit=MAX_LEAVING, grace=RESPONSE_GRACE, min_rate=MIN_RATE)

    async def __call__(self, scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        if scope["type"] != "http":
            raise TypeError(f"This serves HTTP, not {scope['type']}")
        with SpooledTemporaryFile(MAX_IN_MEMORY) as file:
            try:
                limiter = self._limiter_of(scope)
                limiter.check()
                size = await self._read_body(scope, receive, file)
                check_head(scope)  # only now: a client that is still sending might not read an error
                async with limiter.enter():
                    response = await self._in_thread(self._call, make_environ(scope, file, size))
            except ClientGone:
                return
            except RequestError as error:
                metrics.REFUSALS.count(metrics.Refusal(error.code or f"{error.status}"))
                headers, body = render_error(
                    error.status, f"{error}", path=scope["path"], code=error.code, retry_after=error.retry_after
                )
                response = Response(error.status, [*headers, (b"X-Trace-Id", _find_trace(scope).encode())], body)
            except Exception:
                trace = _find_trace(scope)
                log.exception("application_failed", trace=trace)
                headers, body = render_error(500, "Something went wrong on our side", path=scope["path"])
                response = Response(500, [*headers, (b"X-Trace-Id", trace.encode())], body)
            try:
                await self._send_response(response, receive, send)
            finally:
                if response.close:
                    await self._in_thread(response.close)

    async def _in_thread(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def _read_body(self, scope: "HTTPScope", receive: "ASGIReceiveCallable", file: IO[bytes]) -> int | None:
        """Read the body into the file. Return its size in bytes, or None if there is none."""
        headers = dict(scope["headers"])
        if not headers.keys() & {b"content-length", b"transfer-encoding"}:
            await _receive_chunk(receive)  # the end, which is there already
            return None
        declared = int(headers.get(b"content-length", 0))
        if declared > self._max_body and headers.get(b"expect", b"").lower() == b"100-continue":
            return declared  # the application rejects it before it is sent
        try:
            async with asyncio.timeout(None) as deadline:
                received = await self._receive(receive, file, deadline)
        except TimeoutError:
            raise RequestError(408, "The body took too long to arrive") from None
        file.seek(0)
        return max(declared, received)

    async def _receive(self, receive: "ASGIReceiveCallable", file: IO[bytes], deadline: asyncio.Timeout) -> int:
        """Read a body up to MAX_DRAINED bytes, keep up to `max_body` of them, and return the number read."""
        size, more = 0, True
        with self._arriving.enter(deadline) as entry:
            while more and size <= MAX_DRAINED:
                chunk, more = await _receive_chunk(receive)
                size += len(chunk)
                entry.advance(len(chunk))
                if size <= self._max_body:
                    self._arriving.keep(entry, len(chunk))
                    file.write(chunk)
        return size

    def _call(self, environ: "WSGIEnvironment") -> Response:
        """Call the application, and take the first chunk of its response. Runs in a thread."""
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], _error: object = None
        ) -> Callable[[bytes], object]:
            started[:] = [(status, headers)]
            return _reject_write

        iterable = self._application(environ, start_response)
        close: Callable[[], object] | None = getattr(iterable, "close", None)
        try:
            chunk, rest = _take(iter(iterable))
            [(status, headers)] = started
        except BaseException:
            if close:
                close()
            raise
        if rest is None and close:
            close()
        named = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return Response(int(status[:3]), named, chunk, rest, close if rest else None)

    async def _send_response(
        self, response: Response, receive: "ASGIReceiveCallable", send: "ASGISendCallable"
    ) -> None:
        """Send the response. Return early if the client is gone or too slow: the server then closes the connection."""
        gone = asyncio.ensure_future(receive()) if response.rest else None
        try:
            async with asyncio.timeout(None) as deadline:
                with self._leaving.enter(deadline) as entry:
                    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
                    chunk, rest = response.chunk, response.rest
                    await self._send_chunk(chunk, entry, send, more=rest is not None)
                    while rest and gone and not gone.done():
                        chunk, rest = await self._in_thread(_take, rest)
                        await self._send_chunk(chunk, entry, send, more=rest is not None)
        except TimeoutError:
            return
        finally:
            if gone:
                gone.cancel()

    async def _send_chunk(self, chunk: bytes, entry: Entry, send: "ASGISendCallable", *, more: bool) -> None:
        self._leaving.keep(entry, len(chunk))
        for start in range(0, max(len(chunk), 1), CHUNK):
            part = chunk[start : start + CHUNK]
            await send({"type": "http.response.body", "body": part, "more_body": more or start + CHUNK < len(chunk)})
            self._leaving.keep(entry, -len(part))
            entry.advance(len(part))


async def _receive_chunk(receive: "ASGIReceiveCallable") -> tuple[bytes, bool]:
    """Return the next bytes of a body, and whether more follow. Raises ClientGone."""
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGone
    return message["body"], message["more_body"]


def _find_trace(scope: "HTTPScope") -> str:
    """Return the ID of the caller's trace, or of a new one."""
    given = dict(scope["headers"]).get(b"traceparent")
    return tracing.name_trace(tracing.join(given.decode("latin-1") if given else None))


def _take(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes] | None]:
    """Return the next bytes, at least CHUNK of them unless they end, and the iterator if there may be more."""
    taken, size = [], 0
    for chunk in chunks:
        taken.append(chunk)
        size += len(chunk)
        if size >= CHUNK:
            return b"".join(taken), chunks
    return b"".join(taken), None


def _reject_write(_data: bytes) -> object:
    raise RuntimeError("An application has to return its body, not write it")
