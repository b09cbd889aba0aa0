"""The state of the service as metrics. It is read at most every 30 seconds, however many ask.

The database is the truth. Kafka only adds how far events are behind: if it is out of reach, the rest is reported all
the same.
"""

import threading
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

from shared_lib import background, metrics
from shared_lib.broker import Broker
from shared_lib.domain.operations import AttemptCount, Repair, Summary
from shared_lib.errors import FailureCode, Unavailable
from shared_lib.events import CONSUMED, GROUP
from shared_lib.exposition import Distributed, Measured
from shared_lib.metrics import State
from shared_lib.observability import get_logger, log_failure
from shared_lib.repositories.operations import Operations

log = get_logger()

FRESH_SECONDS = 30
LAG_SECONDS = 3
"""Time that Kafka gets. Prometheus waits for ten seconds."""
MOST_TENANTS = 20
OTHERS = "_other"
"""All tenants besides the largest. No tenant has this name."""
REPAIRS = (
    *("requested", "announced", "adopted", "upload_missing", "upload_expired", "upload_removed", "cleaned_up"),
    *("failed_original_removed", "purged", "dead_letter_purged", "gallery_compared", "orphan_removed"),
    *("object_missing", "upload_aborted", "delivery_expired", "rate_purged", "api_key_purged"),
    *("foreign_image_expired", "upload_too_large"),
    *("audit_purged", "receipt_purged", "not_repaired"),
)
"""Reported from the start, because Prometheus sees no increase in the first sample of a series."""
_CODES = {code.value for code in FailureCode}


class Report(NamedTuple):
    measured: Measured
    distributed: Distributed


class StateReport:
    def __init__(self, operations: Operations, broker: Broker) -> None:
        self._operations = operations
        self._broker = broker
        self._reading = threading.Lock()
        self._read_at = float("-inf")
        self._report = Report({}, {})

    def measure(self) -> Report:
        """Raises Unavailable rather than report an old state."""
        with self._reading:
            if time.monotonic() - self._read_at > FRESH_SECONDS:
                self._report = self._make()
                self._read_at = time.monotonic()
            return self._report

    def _make(self) -> Report:
        measure_lag = partial(self._broker.measure_lag, GROUP, CONSUMED, LAG_SECONDS)
        asked, until = background.start(measure_lag, "lag"), time.monotonic() + LAG_SECONDS
        measured = dict(_measure(self._operations.summarize()))
        measured[metrics.GALLERY_BYTES] = select_largest(self._operations.list_sizes())
        measured[metrics.OLDEST_UNLINKED] = {(): self._operations.measure_unlinked()}
        published = self._operations.distribute(metrics.PUBLISH_SECONDS.bounds)
        try:
            lags = asked.result(max(until - time.monotonic(), 0))
        except (Unavailable, TimeoutError) as error:
            failure = error if isinstance(error, Unavailable) else Unavailable("Kafka took too long")
            log_failure(log, "lag_not_known", failure)
            lags = {}
        measured[metrics.LAG] = {(GROUP, topic, f"{partition}"): lag for (topic, partition), lag in lags.items()}
        return Report(measured, {metrics.PUBLISH_SECONDS: (published.counts, published.seconds)})


def select_largest(sizes: list[tuple[str, int]]) -> dict[tuple[str, ...], float]:
    largest: dict[tuple[str, ...], float] = {(tenant,): size for tenant, size in sizes[:MOST_TENANTS]}
    return largest | ({(OTHERS,): sum(size for _, size in rest)} if (rest := sizes[MOST_TENANTS:]) else {})


def _count_repairs(made: Iterable[Repair]) -> dict[tuple[str, ...], float]:
    counts: dict[tuple[str, ...], float] = {(kind,): 0 for kind in REPAIRS}
    return counts | {(each.kind,): each.total for each in made}


def _measure(summary: Summary) -> Mapping[State, Mapping[tuple[str, ...], float]]:
    letters, reconciliation = summary.dead_letters, summary.reconciliation
    last_run = reconciliation.last_run_at
    return {
        metrics.IMAGES: {(status,): count for status, count in summary.images.items()},
        metrics.OLDEST_PENDING: {(): summary.oldest_pending_seconds or 0},
        metrics.OLDEST_PROCESSING: {(): summary.oldest_processing_seconds or 0},
        metrics.RECENT_ATTEMPTS: _add_up(summary.attempts),
        metrics.DEAD_LETTERS: {(): letters.total},
        metrics.RECENT_DEAD_LETTERS: {(): letters.last_hour},
        metrics.RUNS: {(): reconciliation.runs},
        metrics.FAILED_RUNS: {(): reconciliation.failed_runs},
        metrics.LAST_RUN: {(): last_run.timestamp() if last_run else 0},
        metrics.REPAIRS: _count_repairs(reconciliation.repairs),
    }


def _add_up(attempts: tuple[AttemptCount, ...]) -> dict[tuple[str, ...], float]:
    """Sentences are no labels: only codes are."""
    counts: dict[tuple[str, ...], float] = {}
    for each in attempts:
        labels = each.outcome, each.reason if each.reason in _CODES else ""
        counts[labels] = counts.get(labels, 0) + each.count
    return counts
