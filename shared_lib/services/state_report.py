"""The state of the service as metrics. It is read at most every 30 seconds, however many ask."""

import threading
import time
from collections.abc import Iterable, Mapping

from shared_lib import metrics
from shared_lib.domain.operations import AttemptCount, Repair, Summary
from shared_lib.errors import FailureCode
from shared_lib.exposition import Measured
from shared_lib.metrics import State
from shared_lib.repositories import Operations

FRESH_SECONDS = 30
REPAIRS = (
    *("requested", "announced", "adopted", "upload_missing", "upload_expired", "upload_removed", "cleaned_up"),
    *("failed_original_removed", "purged", "dead_letter_purged", "gallery_compared", "orphan_removed"),
    *("object_missing", "upload_aborted", "delivery_expired", "rate_purged", "api_key_purged", "audit_purged"),
    "not_repaired",
)
"""Reported from the start, because Prometheus sees no increase in the first sample of a series."""
_CODES = {code.value for code in FailureCode}


class StateReport:
    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._reading = threading.Lock()
        self._read_at = float("-inf")
        self._measured: Measured = {}

    def measure(self) -> Measured:
        """Return each metric's value by its labels' values. Raises Unavailable rather than report an old state."""
        with self._reading:
            if time.monotonic() - self._read_at > FRESH_SECONDS:
                self._measured = dict(_measure(self._operations.summarize()))
                self._read_at = time.monotonic()
            return self._measured


def _count_repairs(made: Iterable[Repair]) -> dict[tuple[str, ...], float]:
    counts: dict[tuple[str, ...], float] = {(kind,): 0 for kind in REPAIRS}
    return counts | {(each.kind,): each.total for each in made}


def _measure(summary: Summary) -> Mapping[State, Mapping[tuple[str, ...], float]]:
    took, letters, reconciliation = summary.publish_seconds, summary.dead_letters, summary.reconciliation
    last_run = reconciliation.last_run_at
    return {
        metrics.IMAGES: {(status,): count for status, count in summary.images.items()},
        metrics.OLDEST_PENDING: {(): summary.oldest_pending_seconds or 0},
        metrics.OLDEST_PROCESSING: {(): summary.oldest_processing_seconds or 0},
        metrics.RECENT_ATTEMPTS: _add_up(summary.attempts),
        metrics.PUBLISH_SECONDS: {("0.5",): took.p50, ("0.95",): took.p95, ("0.99",): took.p99} if took else {},
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
