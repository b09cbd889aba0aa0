"""A client's connection: how long it may keep the server waiting, and the response to invalid HTTP."""

import asyncio
import sys
from collections.abc import Callable
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from shared_lib.server.errors import render_error

IDLE_SECONDS = 90  # without a request. Longer than callers reuse connections, so that they close them, not we
HEAD_SECONDS = 10.0  # from a request's first byte to the end of its headers
WRITE_SECONDS = 30.0  # for a chunk of a response to be sent
DRAIN_SECONDS = 20.0  # for the rest of a body after its request was refused
LINGER_SECONDS = 5.0  # after an error: it would be lost if the connection closed while the client still sends
MAX_WAITING = 1024  # connections that wait for their client
PROGRESS_BYTES = 4096  # of a body: with less, a client only keeps its connection
STALL_SECONDS = 5.0  # without that many, an upload is as good as idle

_MALFORMED = "The request is not valid HTTP"
_SENTENCES = {
    408: "The request took too long to arrive",
    431: "The request's headers are too large",
}


class Connection(H11Protocol):
    """uvicorn's, with limits. Beyond MAX_WAITING, one of those that wait for their client is closed.

    It is the one that has waited longest. An upload that makes progress is spared, however old it is, unless uploads
    are more than half of all: then the one that has made no progress for longest goes.
    """

    _waiting: "dict[Connection, None]" = {}  # noqa: RUF012  shared on purpose: one process serves one port
    _uploading: "dict[Connection, float]" = {}  # noqa: RUF012  those that make progress, and when they did last
    _unnoted_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _is_in_head = False
    _is_draining = False
    _is_rejected = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that pause_writing is called for every byte that can't be sent
        self._set_head_timer(IDLE_SECONDS, transport.abort)
        self._await_client()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        for timer in (self._head_timer, self._write_timer):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_rejected:
            return
        super().data_received(data)
        if self._is_rejected:
            return
        self._time_head()
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._await_client()
        else:
            self._stop_waiting()
        if self.conn.their_state is h11.SEND_BODY:
            self._note_progress(len(data))

    def _time_head(self) -> None:
        if self._is_draining:
            if self.conn.their_state is h11.SEND_BODY:
                return
            self._is_draining = False
            if not self.conn.trailing_data[0]:
                self._set_head_timer(IDLE_SECONDS, self.transport.abort)
                return
        was_in_head, self._is_in_head = self._is_in_head, self.conn.their_state is h11.IDLE
        if not self._is_in_head:
            self._cancel_head_timer()
        elif not was_in_head:
            self._set_head_timer(HEAD_SECONDS, self.reject, 408)

    def _set_head_timer(self, seconds: float, act: Callable[..., object], *arguments: object) -> None:
        self._cancel_head_timer()
        self._head_timer = self.loop.call_later(seconds, act, *arguments)

    def _cancel_head_timer(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _await_client(self) -> None:
        if self not in self._uploading:
            self._waiting.setdefault(self)
        if len(self._waiting) + len(self._uploading) > MAX_WAITING:
            victim = self._find_victim()
            victim._stop_waiting()  # noqa: SLF001  its end is only reported later
            victim.transport.abort()

    def _stop_waiting(self) -> None:
        self._waiting.pop(self, None)
        self._uploading.pop(self, None)
        self._unnoted_bytes = 0

    def _note_progress(self, count: int) -> None:
        self._unnoted_bytes += count
        if self._unnoted_bytes >= PROGRESS_BYTES:
            self._stop_waiting()
            self._uploading[self] = self.loop.time()

    def _find_victim(self) -> "Connection":
        slowest, progressed_at = next(iter(self._uploading.items()), (self, self.loop.time()))
        is_stalled = self.loop.time() - progressed_at > STALL_SECONDS
        if is_stalled or len(self._uploading) > MAX_WAITING // 2:
            return slowest
        return next(iter(self._waiting), slowest)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE:
            self._await_client()
        elif self.conn.their_state is h11.SEND_BODY:  # refused before its body arrived, which uvicorn discards
            self._is_draining = True
            self._set_head_timer(DRAIN_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_SECONDS, self.transport.abort)
        self._await_client()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer:
            self._write_timer.cancel()
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop_waiting()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn has one sentence for all
        mistake = sys.exception()
        is_too_large = isinstance(mistake, h11.RemoteProtocolError) and mistake.error_status_hint == 431
        self.reject(431 if is_too_large else 400)

    def reject(self, status: int) -> None:
        """Respond with an error, and close the connection once the client has had time to read it."""
        self._is_rejected = True
        if self.cycle and not self.cycle.response_complete:
            self.cycle.disconnected = True  # the application has not responded yet: it waits for the body
            self.cycle.message_event.set()
        if not (self.cycle and self.cycle.response_started and not self.cycle.response_complete):
            headers, body = render_error(status, _SENTENCES.get(status, _MALFORMED))
            lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
            lines += [name + b": " + value for name, value in headers]
            self.transport.write(b"\r\n".join([*lines, b"", body]))
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)
