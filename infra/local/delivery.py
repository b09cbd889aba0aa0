"""Send events to their sinks, with retries and dead letters, like Knative's dispatcher.

An event occupies a thread only during an attempt. While it waits for a retry it is an entry of the scheduler, so
waiting events do not delay others.
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

ERROR_DATA_BYTES = 1024  # of the response body, passed on to the dead-letter sink


@dataclass(frozen=True)
class Policy:
    """The responses that are retried, how often, and after what delay."""

    retries: int
    delay_seconds: Callable[[int], float]  # before the nth retry, counted from 1
    timeout_seconds: float
    is_retried: Callable[[int], bool]

    @classmethod
    def of_kafka_source(cls, delivery: Delivery) -> "Policy":
        base = delivery.backoff_delay.total_seconds()
        exponential = delivery.backoff_policy == "exponential"
        return cls(
            retries=delivery.retry,
            delay_seconds=lambda nth: base * 2**nth if exponential else base * nth,
            timeout_seconds=delivery.timeout.total_seconds(),
            is_retried=lambda status: status >= 500 or status in {404, 408, 409, 429},
        )

    @classmethod
    def of_ping_source(cls) -> "Policy":
        """A PingSource has no `delivery` field. Knative retries five times, and not after a 500."""
        return cls(
            retries=5,
            delay_seconds=lambda nth: 0.05 * 2**nth,
            timeout_seconds=600,
            is_retried=lambda status: status in {404, 413, 425, 429, 502, 503, 504},
        )


@dataclass(frozen=True)
class Failure:
    """A failed attempt. `status` is None if there was no response."""

    status: int | None
    body: bytes
    reason: str


@dataclass(frozen=True)
class PendingEvent:
    """An event on its way to one sink."""

    event: CloudEvent
    sink: str
    dead_letter_sink: str | None
    done: Callable[[], None] = field(compare=False)  # called once, after success or the last attempt
    failed_attempts: int = 0


class Dispatcher:
    """Send up to `concurrency` events at the same time. The caller must limit how many are pending."""

    def __init__(self, policy: Policy, concurrency: int) -> None:
        self._policy = policy
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="delivery")
        self._scheduler = Scheduler()
        self._http = urllib3.PoolManager(maxsize=concurrency, retries=False)

    def send(self, pending: PendingEvent) -> None:
        with suppress(RuntimeError):  # closed meanwhile: `done` is not called, so the next consumer sends it again
            self._threads.submit(self._attempt, pending)

    def close(self, grace_seconds: float) -> None:
        """Start no further attempts, and wait up to `grace_seconds` for the current ones."""
        self._scheduler.close()
        end = functools.partial(self._threads.shutdown, cancel_futures=True)
        ending = threading.Thread(target=end, daemon=True)
        ending.start()
        ending.join(grace_seconds)

    def _attempt(self, pending: PendingEvent) -> None:
        failure = self._post(pending.event, pending.sink)
        if failure is None:
            pending.done()
        elif pending.failed_attempts < self._policy.retries and self._is_retryable(failure):
            again = replace(pending, failed_attempts=pending.failed_attempts + 1)
            delay = self._policy.delay_seconds(again.failed_attempts)
            log.info("%s to %s: %s; retry in %.1f s", pending.event, pending.sink, failure.reason, delay)
            self._scheduler.after(delay, lambda: self.send(again))
        else:
            self._give_up(pending, failure)

    def _is_retryable(self, failure: Failure) -> bool:
        return failure.status is None or self._policy.is_retried(failure.status)

    def _give_up(self, pending: PendingEvent, failure: Failure) -> None:
        if pending.dead_letter_sink is None:
            log.error("%s to %s: %s; no retries left, event lost", pending.event, pending.sink, failure.reason)
            pending.done()
            return
        log.warning(
            "%s to %s: %s; no retries left, sent to the dead-letter sink", pending.event, pending.sink, failure.reason
        )
        dead_letter = pending.event.extended(**_error_extensions(pending.sink, failure))
        self.send(PendingEvent(dead_letter, pending.dead_letter_sink, None, pending.done))

    def _post(self, event: CloudEvent, sink: str) -> Failure | None:
        try:
            response = self._http.request(
                "POST",
                sink,
                body=event.data,
                headers=event.http_headers(),  # type: ignore[arg-type]  # http.client sends bytes unchanged
                timeout=self._policy.timeout_seconds,
                redirect=False,
            )
        except Exception as error:  # noqa: BLE001  any network error, or a header that HTTP does not allow
            return Failure(None, b"", f"{error}")
        if response.status < 300:
            return None
        return Failure(response.status, response.data, f"status {response.status}")


def _error_extensions(sink: str, failure: Failure) -> dict[str, str]:
    extensions = {"knativeerrordest": sink}
    if failure.status is not None:
        extensions["knativeerrorcode"] = f"{failure.status}"
        extensions["knativeerrordata"] = base64.b64encode(failure.body[:ERROR_DATA_BYTES]).decode()
    return extensions


class Scheduler:
    """Call functions after a delay, all on one thread. They must be quick."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()  # between entries with the same time
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._run, daemon=True, name="scheduler").start()

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
