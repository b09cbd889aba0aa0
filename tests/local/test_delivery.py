import base64
import threading
from collections.abc import Callable
from itertools import pairwise

import pytest
from local.sink import Sink

from infra.local.cloud_event import CloudEvent
from infra.local.delivery import Dispatcher, PendingEvent, Policy
from infra.local.manifests import Delivery

EVENT = CloudEvent({"specversion": "1.0", "id": "1", "source": "/tests", "type": "test", "subject": "Ä 漢🎉"}, b"{}")


def kafka_policy(retry: int, policy: str = "exponential", delay: str = "PT0.02S", timeout: str = "PT1S") -> Policy:
    delivery = {"retry": retry, "backoffPolicy": policy, "backoffDelay": delay, "timeout": timeout}
    return Policy.of_kafka_source(Delivery.model_validate(delivery))


def deliver(
    policy: Policy, sink: str, dead_letter_sink: str | None = None, seconds: float = 10, event: CloudEvent = EVENT
) -> None:
    """Send one event, and return after success or the last attempt."""
    done = threading.Event()
    dispatcher = Dispatcher(policy, concurrency=4)
    dispatcher.send(PendingEvent(event, sink, dead_letter_sink, done.set))
    assert done.wait(seconds)
    dispatcher.close(1)


@pytest.mark.parametrize("status", [404, 408, 409, 429, 500, 502, 503, 504])
def test_a_kafka_source_retries_these_statuses(status: int, make_sink: Callable[..., Sink]) -> None:
    sink: Sink = make_sink(lambda _request: status if len(sink.requests) == 1 else 200)
    deliver(kafka_policy(retry=3), sink.url)
    assert len(sink.requests) == 2


@pytest.mark.parametrize("status", [301, 304, 400, 401, 403, 405, 410, 413, 415, 422, 425])
def test_a_kafka_source_sends_a_dead_letter_at_once_for_these_statuses(
    status: int, make_sink: Callable[..., Sink]
) -> None:
    sink, dead = make_sink(lambda _request: status), make_sink()
    deliver(kafka_policy(retry=3), sink.url, dead.url)
    assert (len(sink.requests), len(dead.requests)) == (1, 1)


@pytest.mark.parametrize(("status", "attempts"), [(404, 6), (413, 6), (425, 6), (429, 6), (503, 6), (500, 1), (409, 1)])
def test_a_ping_source_retries_other_statuses_than_a_kafka_source(
    status: int, attempts: int, make_sink: Callable[..., Sink]
) -> None:
    sink = make_sink(lambda _request: status)
    deliver(Policy.of_ping_source(), sink.url)
    assert len(sink.requests) == attempts


@pytest.mark.parametrize(
    ("policy", "expected"), [("exponential", [0.1, 0.2, 0.4, 0.8]), ("linear", [0.05, 0.1, 0.15, 0.2])]
)
def test_retry_delays_follow_the_backoff_policy(
    policy: str, expected: list[float], make_sink: Callable[..., Sink]
) -> None:
    sink = make_sink(lambda _request: 503)
    deliver(kafka_policy(retry=4, policy=policy, delay="PT0.05S"), sink.url)
    waits = [later.at - earlier.at for earlier, later in pairwise(sink.requests)]
    assert waits == pytest.approx(expected, abs=0.5)  # a busy machine adds to each delay
    assert all(wait >= least for wait, least in zip(waits, expected, strict=True))


def test_a_dead_letter_has_the_sink_the_status_and_the_response_body(make_sink: Callable[..., Sink]) -> None:
    sink, dead = make_sink(lambda _request: 422, body=b"x" * 2000), make_sink()
    deliver(kafka_policy(retry=1), sink.url, dead.url)
    [letter] = dead.requests
    assert letter.headers["ce-knativeerrordest"] == sink.url
    assert letter.headers["ce-knativeerrorcode"] == "422"
    assert base64.b64decode(letter.headers["ce-knativeerrordata"]) == b"x" * 1024
    assert (letter.headers["ce-id"], letter.headers["ce-type"], letter.body) == ("1", "test", b"{}")


def test_a_dead_letter_has_no_status_if_the_sink_did_not_respond(make_sink: Callable[..., Sink]) -> None:
    closed, dead = make_sink(), make_sink()
    closed.close()
    deliver(kafka_policy(retry=1), closed.url, dead.url)
    [letter] = dead.requests
    assert letter.headers["ce-knativeerrordest"] == closed.url
    assert "ce-knativeerrorcode" not in letter.headers


def test_a_response_after_the_timeout_counts_as_none(make_sink: Callable[..., Sink]) -> None:
    release = threading.Event()

    def respond_late(_request: object) -> int:
        if len(sink.requests) == 1:
            release.wait(5)
        return 200

    sink = make_sink(respond_late)
    deliver(kafka_policy(retry=1, timeout="PT0.2S"), sink.url)
    release.set()
    assert len(sink.requests) == 2


def test_delivery_to_the_dead_letter_sink_is_retried_too(make_sink: Callable[..., Sink]) -> None:
    sink = make_sink(lambda _request: 400)
    dead: Sink = make_sink(lambda _request: 503 if len(dead.requests) == 1 else 200)
    deliver(kafka_policy(retry=1), sink.url, dead.url)
    assert len(dead.requests) == 2


def test_events_waiting_for_a_retry_do_not_delay_others(make_sink: Callable[..., Sink]) -> None:
    failing, sink = make_sink(lambda _request: 503), make_sink()
    dispatcher = Dispatcher(kafka_policy(retry=1, delay="PT30S"), concurrency=2)
    for _ in range(20):
        dispatcher.send(PendingEvent(EVENT, failing.url, None, lambda: None))
    dispatcher.send(PendingEvent(EVENT, sink.url, None, lambda: None))
    sink.await_requests(1, seconds=2)
    dispatcher.close(1)


def test_attributes_are_sent_as_latin_1_with_question_marks_for_other_characters(
    make_sink: Callable[..., Sink],
) -> None:
    sink = make_sink()
    deliver(kafka_policy(retry=0), sink.url)
    assert sink.requests[0].headers["ce-subject"] == "Ä ???"


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\x1b", "\x7f"])
def test_an_event_with_a_control_character_in_an_attribute_is_never_sent(
    make_sink: Callable[..., Sink], character: str
) -> None:
    sink, dead = make_sink(), make_sink()
    deliver(kafka_policy(retry=1), sink.url, dead.url, event=EVENT.extended(key=f"upload-images/a{character}b"))
    assert (sink.requests, dead.requests) == ([], [])
