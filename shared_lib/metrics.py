"""Metrics: every name and label that the service measures, and how they are counted.

Names follow Prometheus and, where it has one, OpenTelemetry's semantic conventions. Labels are types with few values:
no uuid, no path and nothing that a caller chooses. Counting takes a microsecond and needs no library: that would add 60
to 100 ms to each cold start. `exposition.py` loads one when it is asked what was counted.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

Labels = TypeVar("Labels", bound=tuple[object, ...])

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of a histogram's buckets, in s."""


Series = tuple[tuple[int, ...], float]
"""A histogram's observations with certain labels: their number in each bucket, not cumulated, and their sum.

The last bucket has those beyond the highest bound.
"""


class Histogram(Generic[Labels]):
    def __init__(self, name: str, about: str, labels: type[Labels], bounds: tuple[float, ...] = SECONDS) -> None:
        self.name = name
        self.about = about
        self.labels: tuple[str, ...] = labels._fields  # type: ignore[attr-defined]  # each is a NamedTuple
        self.bounds = bounds
        self._changing = threading.Lock()
        self._observed: dict[Labels, list[float]] = {}

    def observe(self, seconds: float, labels: Labels) -> None:
        place = bisect_left(self.bounds, seconds)
        with self._changing:
            found = self._observed.get(labels)
            if found is None:
                found = self._observed[labels] = [0] * (len(self.bounds) + 2)
            found[place] += 1
            found[-1] += seconds

    @contextmanager
    def time(self, label: Callable[[BaseException | None], Labels]) -> Iterator[None]:
        """Observe how long the block takes. `label` is called with what it raises, or None."""
        began = time.perf_counter()
        raised: BaseException | None = None
        try:
            yield
        except BaseException as error:
            raised = error
            raise
        finally:
            self.observe(time.perf_counter() - began, label(raised))

    def read(self) -> dict[Labels, Series]:
        with self._changing:
            copies = {labels: tuple(found) for labels, found in self._observed.items()}
        return {labels: (tuple(map(int, found[:-1])), found[-1]) for labels, found in copies.items()}


class Counter(Generic[Labels]):
    def __init__(self, name: str, about: str, labels: type[Labels]) -> None:
        """`name` ends in `_total`."""
        self.name = name
        self.about = about
        self.labels: tuple[str, ...] = labels._fields  # type: ignore[attr-defined]  # each is a NamedTuple
        self._changing = threading.Lock()
        self._counts: dict[Labels, int] = {}

    def count(self, labels: Labels) -> None:
        with self._changing:
            self._counts[labels] = self._counts.get(labels, 0) + 1

    def read(self) -> dict[Labels, int]:
        with self._changing:
            return dict(self._counts)


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "_OTHER"  # OpenTelemetry's name for methods that a caller made up


class Request(NamedTuple):
    function: str
    http_request_method: str
    http_response_status_code: int

    @classmethod
    def of(cls, function: str, method: str, status: int) -> "Request":
        return cls(function, method if method in METHODS else OTHER_METHOD, status)


class Refusal(NamedTuple):
    reason: str
    """`busy`, or the status of a request that reached no function."""


class Delivery(NamedTuple):
    function: str
    outcome: str
    """`accepted`, `retried` or `dead_lettered`."""


class Transaction(NamedTuple):
    outcome: str
    """`committed`, `rolled_back`, or `unavailable` if the database was out of reach or took too long."""


class StoreRequest(NamedTuple):
    http_request_method: str
    outcome: str
    """`succeeded`, `missing`, `unavailable`, `misconfigured` or `rejected`."""


class Publication(NamedTuple):
    messaging_destination_name: str
    """The topic."""
    outcome: str
    """`published`, or `failed`."""


class Job(NamedTuple):
    outcome: str
    """`rendered`, `rejected`, `crashed` or `errored`."""


class AttemptEnd(NamedTuple):
    outcome: str
    """`succeeded`, `failed` or `broke_off`."""


REQUESTS = Histogram(
    "http_server_request_duration_seconds", "Requests that a function answered, with their duration.", Request
)
REFUSALS = Counter("http_server_refusals_total", "Requests that reached no function.", Refusal)
DELIVERIES = Histogram("messaging_process_duration_seconds", "Events that a function handled.", Delivery)
TRANSACTIONS = Histogram("db_client_operation_duration_seconds", "Transactions in PostgreSQL.", Transaction)
STORE_REQUESTS = Histogram(
    "store_request_duration_seconds", "Requests to the object store, with retries.", StoreRequest
)
PUBLICATIONS = Histogram("messaging_client_operation_duration_seconds", "Events published to Kafka.", Publication)
JOBS = Histogram("sandbox_job_duration_seconds", "Jobs in the sandbox, with the wait for a worker.", Job)
ATTEMPTS = Histogram("image_attempt_duration_seconds", "Attempts at processing an image, until their end.", AttemptEnd)

HISTOGRAMS = (REQUESTS, DELIVERIES, TRANSACTIONS, STORE_REQUESTS, PUBLICATIONS, JOBS, ATTEMPTS)
COUNTERS = (REFUSALS,)


class State:
    """A measurement that is read from the database, and not counted by a process."""

    def __init__(self, name: str, about: str, labels: tuple[str, ...] = ()) -> None:
        self.name = name
        self.about = about
        self.labels = labels

    @property
    def is_total(self) -> bool:
        """It only grows, over restarts too."""
        return self.name.endswith("_total")


class StateHistogram(State):
    """Durations that are read from the database: those of a while, so its counts fall, too."""

    def __init__(self, name: str, about: str, bounds: tuple[float, ...]) -> None:
        super().__init__(name, about)
        self.bounds = bounds


IMAGES = State("images", "Images by status.", ("status",))
OLDEST_PENDING = State("image_oldest_pending_seconds", "How long the oldest pending image has waited; 0 if none waits.")
OLDEST_PROCESSING = State("image_oldest_processing_seconds", "How long the oldest attempt that runs has been running.")
RECENT_ATTEMPTS = State(
    "image_attempts_last_hour", "Attempts that began in the last hour and have ended.", ("outcome", "reason")
)
PUBLISH_SECONDS = StateHistogram(
    "image_publish_last_hour_seconds",
    "From accepted to published, of images of the last hour.",
    (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
)
DEAD_LETTERS = State("dead_letters", "Dead letters that are kept.")
RECENT_DEAD_LETTERS = State("dead_letters_last_hour", "Dead letters that came in the last hour.")
RUNS = State("reconciliation_runs_total", "Runs of reconciliation.")
FAILED_RUNS = State("reconciliation_failed_runs_total", "Runs of reconciliation of which a step failed.")
LAST_RUN = State("reconciliation_last_run_timestamp_seconds", "When reconciliation last ended a run.")
REPAIRS = State("reconciliation_repairs_total", "Repairs by reconciliation.", ("kind",))
GALLERY_BYTES = State(
    "gallery_bytes", "Bytes in the gallery as of its last comparison, of the largest tenants.", ("tenant",)
)
OLDEST_UNLINKED = State(
    "audit_oldest_unlinked_seconds", "How long the oldest audit record without a link has waited; 0 if none waits."
)
LAG = State("kafka_consumer_group_lag", "Events that a group has yet to finish.", ("group", "topic", "partition"))

STATES = (
    *(IMAGES, OLDEST_PENDING, OLDEST_PROCESSING, RECENT_ATTEMPTS, PUBLISH_SECONDS, DEAD_LETTERS, RECENT_DEAD_LETTERS),
    *(RUNS, FAILED_RUNS, LAST_RUN, REPAIRS, GALLERY_BYTES, OLDEST_UNLINKED, LAG),
)
