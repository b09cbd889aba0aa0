"""The service as operators see it: attempts, dead letters, and the state of the whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared_lib.errors import NotFound


class DeadLetterNotFound(NotFound):
    public = "Dead letter not found"
    code = "dead_letter_not_found"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One claim of an image that was worked on."""

    number: int
    """Grows with each claim of the image. There are gaps: deletions and attempts that did not count."""
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    """None while it runs."""
    reason: str | None


@dataclass(frozen=True, slots=True)
class AttemptCount:
    outcome: str
    reason: str | None
    count: int


@dataclass(frozen=True, slots=True)
class RecordedDeadLetter:
    """An event that could not be delivered."""

    id: int
    event_source: str
    event_id: str
    event_type: str
    image_id: UUID | None
    """The first image that it names."""
    code: int | None
    """The last HTTP status; None if there was no response at all."""
    reason: str
    destination: str | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetterCount:
    total: int
    last_hour: int
    newest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Durations in s: half of all took no longer than `p50`, and so on."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Repair:
    kind: str
    total: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class ReconciliationState:
    runs: int
    failed_runs: int
    last_run_at: datetime | None
    """The end of the last run, whether or not all of its steps succeeded."""
    repairs: tuple[Repair, ...]


@dataclass(frozen=True, slots=True)
class Distribution:
    """Numbers of durations up to each bound but longer than the one before, and the sum of all, in s."""

    counts: tuple[int, ...]
    """One more than there are bounds."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The state of the whole service, at one moment. Durations are in s."""

    images: Mapping[str, int]
    """By status, all statuses included."""
    oldest_pending_seconds: float | None
    oldest_processing_seconds: float | None
    """Age of the oldest attempt that runs."""
    attempts: tuple[AttemptCount, ...]
    publish_seconds: Percentiles | None
    dead_letters: DeadLetterCount
    reconciliation: ReconciliationState
