"""Attempts, dead letters and the service's state as the API shows them."""

import re
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, Field, WithJsonSchema

from shared_lib.constraints import Bounds, Pattern
from shared_lib.domain import operations as domain
from shared_lib.domain.images import ImageStatus
from shared_lib.domain.timestamps import Time
from shared_lib.errors import NOT_ITS_OWN_FAULT, FailureCode
from shared_lib.web.schemas import ApiModel

# The page at /api-docs/ replaces it with the newest one's.
DeadLetterId = Annotated[
    str, Pattern("^[0-9]{1,18}$", "must be the ID of a dead letter, a number"), Field(examples=["471104711047110"])
]

MAX_RETRIED = 5000
"""Images that one request retries: two seconds of work."""

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _read_moment(text: object) -> datetime:
    if not isinstance(text, str) or not _RFC_3339.fullmatch(text):
        raise ValueError("must be a time as in RFC 3339, such as 2026-03-08T19:02:11Z")
    return datetime.fromisoformat(text.upper())


Moment = Annotated[
    datetime,
    BeforeValidator(_read_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-03-08T19:00:00Z"]}),
]
"""A time that a caller gives."""


class Attempt(ApiModel):
    """One attempt at processing an image."""

    number: int = Field(description="Grows with each attempt. There may be gaps.", examples=[1])
    started_at: Time
    ended_at: Time | None
    outcome: str | None = Field(
        description="`succeeded`, `failed`, `released` (to be tried again), `crashed`, `errored` or `lost`. Null while "
        "it runs.",
        examples=["failed"],
    )
    reason: str | None = Field(description="A failure's code, or a sentence.", examples=["corrupt_image"])


class AttemptList(ApiModel):
    data: tuple[Attempt, ...]


class AttemptCount(ApiModel):
    outcome: str = Field(examples=["failed"])
    reason: str | None = Field(examples=["corrupt_image"])
    count: int = Field(examples=[3])


class DeadLetter(ApiModel):
    """An event that could not be delivered. It holds no image up: that is processed again by its row."""

    id: DeadLetterId
    event_source: str = Field(examples=["/apis/v1/namespaces/image-processing/kafkasources/image-work#bucket-events"])
    event_id: str = Field(examples=["0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11"])
    event_type: str = Field(examples=["org.imageprocessing.image.processing.requested.v1"])
    image: UUID | None = Field(
        description="The first image that it names.", examples=["0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11"]
    )
    status_code: int | None = Field(description="Of the last response. Null: there was none.", examples=[503])
    reason: str = Field(examples=["The database is out of reach"])
    destination: str | None = Field(examples=["http://process-image.image-processing.svc.cluster.local"])
    received_at: Time


class DeadLetterList(ApiModel):
    data: tuple[DeadLetter, ...]
    next: DeadLetterId | None = Field(
        description="The next page's `after`. Null on the last page.", examples=["471104711047110"]
    )


class RedriveOrder(ApiModel):
    codes: Annotated[tuple[FailureCode, ...], Bounds(min_length=1, max_length=len(FailureCode))] = Field(
        default=NOT_ITS_OWN_FAULT,
        description="What the images or renditions failed with.",
        examples=[["decoder_timeout"]],
    )
    failed_since: Moment | None = Field(default=None, description="Only those that failed then or later.")
    failed_until: Moment | None = Field(default=None, description="Only those that failed earlier.")
    dry_run: Annotated[bool, Field(strict=True)] = Field(default=False, description="Only count them.", examples=[True])


class Redriven(ApiModel):
    images: int = Field(description="Images that are retried, or that would be.", examples=[12])
    may_have_more: bool = Field(examples=[False])
    dry_run: bool = Field(examples=[True])


class DeadLetterCount(ApiModel):
    total: int = Field(description="That are kept, counted up to 100,000.", examples=[2])
    last_hour: int = Field(examples=[0])
    newest_at: Time | None


class Percentiles(ApiModel):
    """Durations in s: half of all, 95 % and 99 % took no longer."""

    p50: float = Field(examples=[0.4])
    p95: float = Field(examples=[0.9])
    p99: float = Field(examples=[1.7])


class Repair(ApiModel):
    kind: str = Field(examples=["requested"])
    total: int = Field(examples=[12])
    last_at: Time


class ReconciliationState(ApiModel):
    """The job that repairs each minute what events missed. Repairs are counted since the installation."""

    runs: int = Field(examples=[1440])
    failed_runs: int = Field(examples=[0])
    last_run_at: Time | None
    repairs: tuple[Repair, ...]


class RecentAttempts(ApiModel):
    """Attempts that began in the last hour, the newest 10,000 at most."""

    ended: tuple[AttemptCount, ...]
    publish_seconds: Percentiles | None = Field(
        description="Of the newest 1,000: from when an image was queued until it was published. Null: none was."
    )


class Summary(ApiModel):
    """The state of the whole service."""

    images: dict[ImageStatus, int] = Field(
        description="Images by status. Those that await their upload are counted up to 100,000.",
        examples=[{"awaiting_upload": 2, "pending": 1, "processing": 1, "succeeded": 960, "failed": 20}],
    )
    oldest_pending_seconds: float | None = Field(
        description="How long the oldest pending image has been waiting. Null if there is none.", examples=[1.2]
    )
    oldest_processing_seconds: float | None = Field(
        description="How long the oldest attempt that runs has been running.", examples=[0.3]
    )
    last_hour: RecentAttempts
    dead_letters: DeadLetterCount
    reconciliation: ReconciliationState


def show_attempt(attempt: domain.Attempt) -> Attempt:
    return Attempt.model_validate(attempt, from_attributes=True)


def show_dead_letter(letter: domain.RecordedDeadLetter) -> DeadLetter:
    return DeadLetter(
        id=f"{letter.id}",
        event_source=letter.event_source,
        event_id=letter.event_id,
        event_type=letter.event_type,
        image=letter.image_id,
        status_code=letter.code,
        reason=letter.reason,
        destination=letter.destination,
        received_at=letter.received_at,
    )


def show_summary(summary: domain.Summary) -> Summary:
    return Summary(
        images={ImageStatus(name): count for name, count in summary.images.items()},
        oldest_pending_seconds=summary.oldest_pending_seconds,
        oldest_processing_seconds=summary.oldest_processing_seconds,
        last_hour=RecentAttempts.model_validate(
            {"ended": summary.attempts, "publish_seconds": summary.publish_seconds}, from_attributes=True
        ),
        dead_letters=DeadLetterCount.model_validate(summary.dead_letters, from_attributes=True),
        reconciliation=ReconciliationState.model_validate(summary.reconciliation, from_attributes=True),
    )
