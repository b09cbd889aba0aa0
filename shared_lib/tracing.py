"""
Traces: which requests, events and calls belong together (W3C Trace Context).

The trace that a request or event belongs to is always known, for logs and for the events that are sent. Spans are only
recorded if `otlp` exports them. It loads OpenTelemetry, which takes 150 ms.
"""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext, Tracer

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_UNSAMPLED = "-00"

Kind = Literal["server", "client", "producer", "consumer", "internal"]
Attributes = Mapping[str, str | int]
"""By OpenTelemetry's semantic conventions. Nothing secret, and no texts of callers."""

_traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
_tracer: "Tracer | None" = None


class Note(Protocol):
    """Adds attributes to a span."""

    def __call__(self, attributes: Attributes, /) -> None: ...


def record(tracer: "Tracer") -> None:
    """From now on, record spans with it. The parent decides whether a trace is recorded."""
    global _tracer  # noqa: PLW0603  one per process, as the runtime
    _tracer = tracer


def current() -> str | None:
    """Return the traceparent of what is being done, to pass on with what it causes."""
    return _traceparent.get()


def join(traceparent: str | None) -> str:
    """Return the caller's traceparent, or a new one if there is none or it is invalid."""
    if traceparent is not None and TRACEPARENT.fullmatch(traceparent):
        return traceparent
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


@contextmanager
def trace(name: str, kind: Kind, traceparent: str | None, attributes: Attributes) -> Iterator[Note]:
    """Continue the caller's trace, or begin one, while a request or event is handled."""
    if _tracer is None:
        with _as_current(join(traceparent)):
            yield _ignore
        return
    if traceparent is not None and not TRACEPARENT.fullmatch(traceparent):
        traceparent = None
    with _record(_tracer, name, kind, traceparent, attributes) as note:
        yield note


@contextmanager
def span(name: str, kind: Kind = "internal", attributes: Attributes | None = None) -> Iterator[None]:
    """Record a part of the current trace, if there is one and it is recorded."""
    if _tracer is None or (parent := _traceparent.get()) is None or parent.endswith(_UNSAMPLED):
        yield
        return
    with _record(_tracer, name, kind, parent, attributes or {}):
        yield


@contextmanager
def resume(traceparent: str | None, name: str) -> Iterator[None]:
    """
    Go on in the trace of a request that was made earlier, by a span that links to the present one.

    In the present trace, if it is the same or no other is known.
    """
    current = _traceparent.get()
    if traceparent is None or not TRACEPARENT.fullmatch(traceparent) or name_trace(current) == name_trace(traceparent):
        yield
    elif _tracer is None:
        with _as_current(traceparent):
            yield
    else:
        with _record(_tracer, name, "internal", traceparent, {}, link=current):
            yield


def name_trace(traceparent: str | None) -> str:
    """Return the trace's ID, or nothing."""
    return "".join((traceparent or "").split("-")[1:2])


@contextmanager
def _record(  # noqa: PLR0913  the parts of a span
    tracer: "Tracer", name: str, kind: Kind, parent: str | None, attributes: Attributes, *, link: str | None = None
) -> Iterator[Note]:
    from opentelemetry.context import Context  # noqa: PLC0415  loaded by `otlp`
    from opentelemetry.trace import (  # noqa: PLC0415  (same)
        Link,
        NonRecordingSpan,
        SpanKind,
        Status,
        StatusCode,
        set_span_in_context,
    )

    recorded = tracer.start_span(
        name,
        context=set_span_in_context(NonRecordingSpan(_read(parent)), Context()),
        kind=SpanKind[kind.upper()],
        attributes=attributes,
        links=[Link(_read(link))] if link else None,
        record_exception=False,  # messages may hold what no log has
        set_status_on_exception=False,
    )
    try:
        with _as_current(_write(recorded)):
            yield recorded.set_attributes
    except BaseException as error:
        recorded.set_attribute("error.type", type(error).__name__)
        recorded.set_status(Status(StatusCode.ERROR))
        raise
    finally:
        recorded.end()


def _read(traceparent: str | None) -> "SpanContext":
    """OpenTelemetry's own parser takes as long as the rest of a span."""
    from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, TraceFlags  # noqa: PLC0415  (same)

    if traceparent is None:
        return INVALID_SPAN_CONTEXT
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def _write(recorded: "Span") -> str:
    context = recorded.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@contextmanager
def _as_current(traceparent: str) -> Iterator[None]:
    token = _traceparent.set(traceparent)
    try:
        yield
    finally:
        _traceparent.reset(token)


def _ignore(_attributes: Attributes) -> None:
    """Nobody exports them."""
