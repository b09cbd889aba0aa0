"""The edge that event sources see: decode, call; and kinds of error → what a KafkaSource does next.

Any status below 300 is done. 404, 408, 409, 429 and 5xx mean "deliver again", with back-off; every other 4xx means
"dead-letter now" (knative-extensions/eventing-kafka-broker, ResponseWaiter and RetryPredicate; knative/specs
eventing/data-plane.md). A PingSource delivers again on 503 but not on 500.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import flask
from cloudevents.http import CloudEvent
from werkzeug.exceptions import HTTPException

from shared_lib import observability, runtime
from shared_lib.errors import (
    Conflict,
    Invalid,
    NotFound,
    Rejected,
    ServiceError,
    TooLarge,
    Unavailable,
    Unsupported,
    look_up,
)

log = observability.get_logger()

MAX_EVENT = 1 << 20
"""Bytes of an event's data: as many as a Kafka record has at most, unless a broker is told otherwise."""

DEAD_LETTER, AGAIN_HELD, AGAIN_LATER = 422, 409, 503
STATUS: dict[type[ServiceError], int] = {
    Invalid: 400,  # dead-letter: no redelivery can mend the event
    Rejected: DEAD_LETTER,
    TooLarge: DEAD_LETTER,
    Unsupported: DEAD_LETTER,
    NotFound: DEAD_LETTER,
    Conflict: AGAIN_HELD,
    Unavailable: AGAIN_LATER,
}


class Event:
    """A CloudEvent as it arrived: its attributes by name, and its data whatever it was."""

    def __init__(self, event: CloudEvent) -> None:
        self._attributes = event.get_attributes()
        self.data = event.get_data()

    def __getitem__(self, attribute: str) -> str:
        """An attribute that every CloudEvent has: id, source, type."""
        return str(self._attributes[attribute])

    @property
    def raw(self) -> bytes:
        """The data as bytes again, whatever it was."""
        if isinstance(self.data, bytes):
            return self.data
        return self.data.encode() if isinstance(self.data, str) else json.dumps(self.data).encode()

    def get(self, attribute: str) -> str | None:
        value = self._attributes.get(attribute)
        return None if value is None else str(value)


def consumer(handler: Callable[[runtime.Runtime, Event], None]) -> Callable[[CloudEvent], None]:
    """
    Make `handler(rt, event)` callable by functions-framework. Returning accepts the event.

    Raising a ServiceError answers by the table above; anything else is a 503, so that nothing is lost to a mistake.
    """
    name = Path(handler.__code__.co_filename).parent.name

    @functools.wraps(handler)  # functions-framework finds and registers us by __name__
    def edge(cloud_event: CloudEvent) -> None:
        rt = runtime.current()
        event = Event(cloud_event)
        with observability.context(traceparent=event.get("traceparent"), function=name, event=event["id"]):
            try:
                handler(rt, event)
            except ServiceError as error:
                status = look_up(STATUS, error, AGAIN_LATER)
                observability.log_failure(log, "event_not_accepted", error, status=status)
                raise _answer(status, error.public) from error
            except Exception as error:
                log.exception("event_failed")
                raise _answer(AGAIN_LATER, "Something went wrong on our side") from error

    if flask.has_app_context():
        # functions-framework runs the module inside its app's context, and reads whatever it is sent. Beyond this it
        # answers 413, which a KafkaSource does not deliver again.
        flask.current_app.config["MAX_CONTENT_LENGTH"] = MAX_EVENT
    return edge


def decoding(edge: Callable[[CloudEvent], None]) -> Callable[[CloudEvent], None]:
    """
    Have a decoder ready before the first event comes.

    A function whose kernel cannot confine one ends here, with the reason, if PROCESSING_SANDBOX does not allow it.
    """
    if flask.has_app_context():  # it is being loaded to be served
        runtime.current().box.start()
    return edge


def _answer(status: int, sentence: str) -> HTTPException:
    return HTTPException(response=flask.Response(sentence, status, mimetype="text/plain"))
