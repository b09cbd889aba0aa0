"""Serve functions that consume events, and translate kinds of error to what a KafkaSource does next.

A status below 300 acknowledges the event. 404, 408, 409, 429 and 5xx mean "deliver again", with back-off. Every other
4xx means "dead-letter now" (knative-extensions/eventing-kafka-broker, ResponseWaiter and RetryPredicate; knative/specs
eventing/data-plane.md). A PingSource delivers again on 503, but not on 500.
"""

import functools
from collections.abc import Callable
from typing import Protocol

import flask
from cloudevents.http import CloudEvent
from werkzeug.exceptions import HTTPException

from shared_lib import background, metrics, observability, runtime, tracing
from shared_lib.database.connection import ALL_TENANTS, acting_for
from shared_lib.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Rejected,
    ServiceError,
    TooLarge,
    TooManyAttempts,
    Unauthenticated,
    Unavailable,
    Unsupported,
    WorkerError,
    look_up,
)
from shared_lib.repositories.audit import SERVICE, acting_as

log = observability.get_logger()

MAX_EVENT = 256 * 1024
"""Maximum bytes of an event's data. A store's message has a thousand, ours a hundred."""

DEAD_LETTER, RETRY_CONFLICT, RETRY = 422, 409, 503
STATUS: dict[type[ServiceError], int] = {
    Invalid: 400,  # dead-letter, too: no redelivery can correct the event
    Unauthenticated: DEAD_LETTER,
    Forbidden: DEAD_LETTER,
    Rejected: DEAD_LETTER,
    TooLarge: DEAD_LETTER,
    Unsupported: DEAD_LETTER,
    NotFound: DEAD_LETTER,
    Conflict: RETRY_CONFLICT,
    TooManyAttempts: RETRY,
    Unavailable: RETRY,
    WorkerError: RETRY,
}


class EventFunction(Protocol):
    """A function as functions-framework calls it."""

    consumer: str
    """The function's name."""

    def __call__(self, cloud_event: CloudEvent) -> None: ...


class Event:
    """A CloudEvent as it arrived: its attributes by name, and its data of whatever type."""

    def __init__(self, event: CloudEvent) -> None:
        self._attributes = event.get_attributes()
        self.data = event.get_data()

    def __getitem__(self, attribute: str) -> str:
        """Return an attribute that every CloudEvent has: id, source or type."""
        return str(self._attributes[attribute])

    def get(self, attribute: str) -> str | None:
        value = self._attributes.get(attribute)
        return None if value is None else str(value)


def consumer(
    *, name: str, needs_sandbox: bool = False
) -> Callable[[Callable[[runtime.Runtime, Event], None]], EventFunction]:
    """Make `handler(rt, event)` callable by functions-framework. Returning acknowledges the event.

    A ServiceError becomes a status by the table above. Any other error is a 503, so that no event is lost to a bug.

    With `needs_sandbox`, a worker and the processor are ready before the first event comes. If the kernel can't confine
    the worker, and PROCESSING_SANDBOX doesn't allow that, loading the function fails with the reason.
    """

    def decorate(handler: Callable[[runtime.Runtime, Event], None]) -> EventFunction:
        @functools.wraps(handler)  # functions-framework registers it by __name__
        def function(cloud_event: CloudEvent) -> None:
            _handle(cloud_event, name, handler)

        function.consumer = name  # type: ignore[attr-defined]
        if flask.has_app_context():  # it is being loaded to be served
            # functions-framework reads a body of any size. Beyond this it responds 413, and a KafkaSource
            # doesn't deliver the event again.
            flask.current_app.config["MAX_CONTENT_LENGTH"] = MAX_EVENT
            flask.current_app.register_error_handler(Exception, _refuse_unreadable)
            if needs_sandbox:
                rt = runtime.current()
                starting = background.start(rt.sandbox.start, "sandbox-start")
                rt.processor  # noqa: B018  it loads while another process loads the codecs
                starting.result()
        return function  # type: ignore[return-value]

    return decorate


def _handle(cloud_event: CloudEvent, name: str, handler: Callable[[runtime.Runtime, Event], None]) -> None:
    rt = runtime.current()
    event = Event(cloud_event)
    with (
        tracing.trace(f"process {name}", "consumer", event.get("traceparent"), {"messaging.system": "kafka"}),
        observability.context(function=name, cloud_event=event["id"]),
        metrics.DELIVERIES.time(lambda error: metrics.Delivery(name, _name_outcome(error))),
    ):
        try:
            with (
                acting_for(ALL_TENANTS),
                acting_as(SERVICE),
            ):  # an event is about an image, and its row says whose that is
                handler(rt, event)
        except ServiceError as error:
            status = look_up(STATUS, error, RETRY)
            observability.log_failure(log, "event_not_accepted", error, status=status)
            raise _reject(status, error.public) from error
        except Exception as error:
            log.exception("event_failed")
            raise _reject(RETRY, "Something went wrong on our side") from error


def _refuse_unreadable(error: Exception) -> HTTPException:
    """Respond to what is no CloudEvent, so that it is not delivered again: `_handle` makes all other errors responses.

    functions-framework reads the event, and lets some errors of its JSON through, such as that it is nested too deeply.
    """
    if isinstance(error, HTTPException):
        return error
    log.info("event_not_accepted", reason="It is no CloudEvent", cause=type(error).__name__)
    return _reject(STATUS[Invalid], "This is no CloudEvent")


def _name_outcome(error: BaseException | None) -> str:
    if error is None:
        return "accepted"
    response = error.response if isinstance(error, HTTPException) else None
    return "dead_lettered" if response and response.status_code in (DEAD_LETTER, STATUS[Invalid]) else "retried"


def _reject(status: int, sentence: str) -> HTTPException:
    return HTTPException(response=flask.Response(sentence, status, mimetype="text/plain"))
