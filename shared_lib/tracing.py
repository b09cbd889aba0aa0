"""Traces: which requests, events and calls belong together (W3C Trace Context).

The trace that a request or event belongs to is always known, for logs and for the events that are sent. Spans are only
recorded if `otlp` exports them. They are plain tuples here, because OpenTelemetry's own spans take three times as long.
"""

import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple, Protocol

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

Kind = Literal["server", "client", "producer", "consumer", "internal"]
Attributes = Mapping[str, str | int]
"""By OpenTelemetry's semantic conventions. Nothing secret, and no texts of callers."""


class Span(NamedTuple):
    """A part of a trace that has ended."""

    name: str
    kind: Kind
    traceparent: str
    """Its own."""
    parent: str | None
    link: str | None
    """Of another span that caused it, too."""
    began: int
    """ns since 1970, as `ended`."""
    ended: int
    attributes: Attributes
    failed: bool


class Recorder(Protocol):
    """Takes the spans of recorded traces."""

    def samples(self, trace: str, parent: str | None) -> bool:
        """Decide whether a trace is recorded that begins here, or that a caller continues by this traceparent."""

    def add(self, span: Span) -> None: ...


_traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
_recorder: Recorder | None = None


class Note(Protocol):
    """Adds attributes to a span."""

    def __call__(self, attributes: Attributes, /) -> None: ...


def record(recorder: Recorder) -> None:
    """From now on, record spans with it."""
    global _recorder  # noqa: PLW0603  one per process, as the runtime
    _recorder = recorder


def current() -> str | None:
    """Return the traceparent of what is being done, to pass on with what it causes."""
    return _traceparent.get()


def join(traceparent: str | None) -> str:
    """Return the caller's traceparent, or a new one if there is none or it is invalid."""
    return _read(traceparent) or _write(secrets.token_hex(16), sampled=True)


@contextmanager
def trace(name: str, kind: Kind, traceparent: str | None, attributes: Attributes) -> Iterator[Note]:
    """Continue the caller's trace, or begin one, while a request or event is handled."""
    if _recorder is None:
        with _as_current(join(traceparent)):
            yield _ignore
        return
    parent = _read(traceparent)
    identity = name_trace(parent) or secrets.token_hex(16)
    if _recorder.samples(identity, parent):
        with _record(_recorder, name, kind, identity, parent, attributes=attributes) as note:
            yield note
    else:
        with _as_current(_write(identity, sampled=False)):
            yield _ignore


@contextmanager
def span(name: str, kind: Kind = "internal", attributes: Attributes | None = None) -> Iterator[None]:
    """Record a part of the current trace, if there is one and it is recorded."""
    if _recorder is None or (parent := _traceparent.get()) is None or not _is_sampled(parent):
        yield
        return
    with _record(_recorder, name, kind, name_trace(parent), parent, attributes=attributes or {}):
        yield


@contextmanager
def resume(traceparent: str | None, name: str) -> Iterator[None]:
    """Go on in the trace of a request that was made earlier, by a span that links to the present one.

    In the present trace, if it is the same or no other is known.
    """
    current = _traceparent.get()
    earlier = _read(traceparent)
    if earlier is None or name_trace(current) == name_trace(earlier):
        yield
    elif _recorder is None or not _is_sampled(earlier):
        with _as_current(earlier):
            yield
    else:
        with _record(_recorder, name, "internal", name_trace(earlier), earlier, attributes={}, link=current):
            yield


def name_trace(traceparent: str | None) -> str:
    """Return the trace's ID, or nothing."""
    return "".join((traceparent or "").split("-")[1:2])


@contextmanager
def _record(  # noqa: PLR0913  the parts of a span
    recorder: Recorder,
    name: str,
    kind: Kind,
    identity: str,
    parent: str | None,
    *,
    attributes: Attributes,
    link: str | None = None,
) -> Iterator[Note]:
    own = _write(identity, sampled=True)
    noted = dict(attributes)
    failed = False
    began = time.time_ns()
    token = _traceparent.set(own)
    try:
        yield noted.update
    except BaseException as error:
        failed = True
        noted["error.type"] = type(error).__name__  # its message may hold what no log has
        raise
    finally:
        _traceparent.reset(token)
        recorder.add(Span(name, kind, own, parent, link, began, time.time_ns(), noted, failed))


def _read(traceparent: str | None) -> str | None:
    """Return it if it is valid."""
    return traceparent if traceparent is not None and TRACEPARENT.fullmatch(traceparent) else None


def _write(identity: str, *, sampled: bool) -> str:
    """Return the traceparent of a new span."""
    return f"00-{identity}-{secrets.token_hex(8)}-{'01' if sampled else '00'}"


def _is_sampled(traceparent: str) -> bool:
    return bool(int(traceparent[-2:], 16) & 1)


@contextmanager
def _as_current(traceparent: str) -> Iterator[None]:
    token = _traceparent.set(traceparent)
    try:
        yield
    finally:
        _traceparent.reset(token)


def _ignore(_attributes: Attributes) -> None:
    """Nobody exports them."""
