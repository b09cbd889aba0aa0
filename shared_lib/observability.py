"""Structured logs. Every line carries the request or event, the function and the trace that it belongs to.

Log events are constants with fields. `web` and `consumer` bind the context once for each request or event. No secret
reaches a line, because nothing logs settings, headers or the queries of URLs.
"""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TextIO, cast

import structlog

from shared_lib import tracing
from shared_lib.errors import Misconfigured, ServiceError, Unavailable, describe_cause

# C0, DEL and C1: a terminal would execute them. Line breaks too, or one line could look like two.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_function: ContextVar[str] = ContextVar("function")


class _Output:
    """Standard error. If nobody reads it any more, lines are lost, and requests don't fail."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def configure(level: str, form: str) -> None:
    """Write log lines to standard error, as JSON (`json`) or for people (`console`)."""
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer()]
        if form == "json"
        else [_escape_controls, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Output())),
        cache_logger_on_first_use=True,
    )


def get_logger() -> structlog.typing.FilteringBoundLogger:
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


def _escape_controls(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape what a terminal would execute. A traceback keeps its line breaks, as the renderer writes it apart."""
    for name, value in line.items():
        if isinstance(value, str):
            lines = value.split("\n") if name == "exception" else [value]
            line[name] = "\n".join(_CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", each) for each in lines)
    return line


def log_failure(log: structlog.typing.FilteringBoundLogger, event: str, error: ServiceError, **fields: object) -> None:
    """Log an error with its cause, at a level by its kind. Call it once, where the error is handled."""
    if isinstance(error, Misconfigured):
        write = log.error
    elif isinstance(error, Unavailable):
        write = log.warning
    else:
        write = log.info
    if cause := describe_cause(error):
        fields["cause"] = cause
    write(event, reason=error.public, **fields)


@contextmanager
def context(*, function: str, **fields: str) -> Iterator[None]:
    """Bind the function's name, the current trace and other fields to every line logged inside."""
    token = _function.set(function)
    try:
        trace = tracing.name_trace(tracing.current())
        with structlog.contextvars.bound_contextvars(trace=trace, function=function, **fields):
            yield
    finally:
        _function.reset(token)


@contextmanager
def resume_trace(traceparent: str | None, name: str) -> Iterator[None]:
    """Go on in the trace of a request that was made earlier, if it is known. Also in the lines logged inside."""
    with (
        tracing.resume(traceparent, name),
        structlog.contextvars.bound_contextvars(trace=tracing.name_trace(tracing.current())),
    ):
        yield


def current_function() -> str:
    """Return the name of the function that handles the current request or event."""
    return _function.get("unknown")
