"""Sending an event to its sink, until it is accepted or given up on, as Knative's dispatcher does it.

An attempt takes a thread only while it is being made: an event that waits for its next attempt is an entry in a
timetable, so that many of them do not hold up the others.
"""

import base64
import functools
import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace

import urllib3

from infra.local.cloud_event import CloudEvent
from infra.local.manifests import Delivery

log = logging.getLogger(__name__)

ERROR_DATA_BYTES = 1024  # of a refusal's body that the dead-letter sink is shown


@dataclass(frozen=True)
class Policy:
    """How often, when, and on what answer an event is sent again."""

    retries: int
    delay_seconds: Callable[[int], float]  # before the nth retry, counted from 1
    timeout_seconds: float
    retried: Callable[[int], bool]

    @classmethod
    def of_kafka_source(cls, delivery: Delivery) -> "Policy":
        base = delivery.backoff_delay.total_seconds()
        exponential = delivery.backoff_policy == "exponential"
        return cls(
            retries=delivery.retry,
            delay_seconds=lambda nth: base * 2**nth if exponential else base * nth,
            timeout_seconds=delivery.timeout.total_seconds(),
            retried=lambda status: status >= 500 or status in {404, 408, 409, 429},
        )

    @classmethod
    def of_ping_source(cls) -> "Policy":
        """A PingSource has no delivery of its own: five retries, and 500 is not among what is retried."""
        return cls(
            retries=5,
            delay_seconds=lambda nth: 0.05 * 2**nth,
            timeout_seconds=600,
            retried=lambda status: status in {404, 413, 425, 429, 502, 503, 504},
        )


@dataclass(frozen=True)
class Failure:
    """Why an attempt was not accepted; no status if there was no answer at all."""

    status: int | None
    body: bytes
    reason: str


@dataclass(frozen=True)
class Errand:
    """An event on its way to one sink."""

    event: CloudEvent
    sink: str
    dead_letter_sink: str | None
    done: Callable[[], None] = field(compare=False)  # called once, when it is accepted or given up
    failed_attempts: int = 0


class Dispatcher:
    """Sends events, any number at the same time up to `concurrency`; the caller bounds how many it hands over."""

    def __init__(self, policy: Policy, concurrency: int) -> None:
        self._policy = policy
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="delivery")
        self._timetable = Timetable()
        self._http = urllib3.PoolManager(maxsize=concurrency, retries=False)

    def send(self, errand: Errand) -> None:
        with suppress(RuntimeError):  # closed meanwhile: not accepted, not done, and so sent again by whoever is next
            self._threads.submit(self._attempt, errand)

    def close(self, patience_seconds: float) -> None:
        """Start no further attempt, and wait so long for those being made."""
        self._timetable.close()
        end = functools.partial(self._threads.shutdown, cancel_futures=True)
        ending = threading.Thread(target=end, daemon=True)
        ending.start()
        ending.join(patience_seconds)

    def _attempt(self, errand: Errand) -> None:
        failure = self._post(errand.event, errand.sink)
        if failure is None:
            errand.done()
        elif errand.failed_attempts < self._policy.retries and self._may_be_retried(failure):
            again = replace(errand, failed_attempts=errand.failed_attempts + 1)
            delay = self._policy.delay_seconds(again.failed_attempts)
            log.info("%s to %s: %s; again in %.1f s", errand.event, errand.sink, failure.reason, delay)
            self._timetable.after(delay, lambda: self.send(again))
        else:
            self._give_up(errand, failure)

    def _may_be_retried(self, failure: Failure) -> bool:
        return failure.status is None or self._policy.retried(failure.status)

    def _give_up(self, errand: Errand, failure: Failure) -> None:
        if errand.dead_letter_sink is None:
            log.error("%s to %s: %s; given up, and lost", errand.event, errand.sink, failure.reason)
            errand.done()
            return
        log.warning("%s to %s: %s; given up, to the dead-letter sink", errand.event, errand.sink, failure.reason)
        told = errand.event.extended(**_error_extensions(errand.sink, failure))
        self.send(Errand(told, errand.dead_letter_sink, None, errand.done))

    def _post(self, event: CloudEvent, sink: str) -> Failure | None:
        try:
            answer = self._http.request(
                "POST",
                sink,
                body=event.data,
                headers=event.http_headers(),  # type: ignore[arg-type] # bytes are how http.client sends a value as it is
                timeout=self._policy.timeout_seconds,
                redirect=False,
            )
        except Exception as error:  # noqa: BLE001 - whatever came between, down to a header that HTTP cannot carry
            return Failure(None, b"", f"{error}")
        if answer.status < 300:
            return None
        return Failure(answer.status, answer.data, f"answered {answer.status}")


def _error_extensions(sink: str, failure: Failure) -> dict[str, str]:
    extensions = {"knativeerrordest": sink}
    if failure.status is not None:
        extensions["knativeerrorcode"] = f"{failure.status}"
        extensions["knativeerrordata"] = base64.b64encode(failure.body[:ERROR_DATA_BYTES]).decode()
    return extensions


class Timetable:
    """Calls things later, from one thread; what is called must be quick."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()  # between entries of the same moment
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._run, daemon=True, name="timetable").start()

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        with self._changed:
            heapq.heappush(self._entries, (time.monotonic() + seconds, next(self._order), call))
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                for call in self._due():
                    call()
                self._changed.wait(self._entries[0][0] - time.monotonic() if self._entries else None)

    def _due(self) -> Iterable[Callable[[], None]]:
        while self._entries and self._entries[0][0] <= time.monotonic():
            yield heapq.heappop(self._entries)[2]
