"""Images and collections as plain records, and the states that an image goes through."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from shared_lib.errors import NOT_WORTH_KEEPING, Conflict, FailureCode, NotFound
from shared_lib.pipeline.metadata.model import ImageMetadata

MAX_FILENAME = 255
"""Characters."""

MAX_DISTANCE = 11
"""Bits in which the perceptual hashes of similar images may differ; the index does not find larger distances."""

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""Characters that no filename or collection name may contain."""


class ImageNotFound(NotFound):
    public = "Image not found"
    code = "image_not_found"


class CollectionNotFound(NotFound):
    public = "Collection not found"
    code = "collection_not_found"


class CollectionNotEmpty(Conflict):
    public = "Cannot delete non-empty collection"
    code = "collection_not_empty"

    def __init__(self) -> None:
        super().__init__(details=[{"message": "Remove all images from the collection before deleting it"}])


class ImageStatus(StrEnum):
    """`awaiting_upload` → `pending` → `processing` → `succeeded` | `failed`; a failed image may be tried again."""

    AWAITING_UPLOAD = "awaiting_upload"
    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (ImageStatus.SUCCEEDED, ImageStatus.FAILED)


VISIBLE = tuple(status for status in ImageStatus if status is not ImageStatus.AWAITING_UPLOAD)
"""Statuses of images that callers can see: an image that still awaits its upload does not exist for them."""


class Hidden(StrEnum):
    """States that are no status: there is no row, or it is a tombstone."""

    ABSENT = "absent"
    DELETED = "deleted"


class Change(StrEnum):
    """Something that happens to an image."""

    CREATE = "create"
    """An object without a row was found in the inbox."""
    RESERVE = "reserve"
    """An upload URL is given out, or a direct upload is about to be stored."""
    ARRIVE = "arrive"
    """The awaited upload is in the store."""
    REQUEST = "request"
    """A caller names it, requests renditions, or has a failed one tried again."""
    CLAIM = "claim"
    """A worker begins an attempt."""
    RELEASE = "release"
    """The attempt broke off, and counts unless an outage broke it off."""
    SUCCEED = "succeed"
    """The worker publishes what it made."""
    FAIL = "fail"
    """The worker finds that no retry would help."""
    GIVE_UP = "give_up"
    """It fails without a worker: its upload never came, or is too large."""
    RETRY = "retry"
    """An operator has it tried again."""
    DELETE = "delete"
    FORGET = "forget"
    """Its object was gone before it could be moved to its key."""
    EXPIRE = "expire"
    """Its upload never came, or was refused."""
    CLEAN_UP = "clean_up"
    """Its objects are gone."""
    PURGE = "purge"
    """Its tombstone has been kept long enough."""


class Guard(StrEnum):
    """A condition on a transition, besides the state."""

    NONE = ""
    HELD = "the worker's claim is the current one"
    LEASE_EXPIRED = "the lease has expired"
    NO_LEASE = "no lease is running"
    RENDITIONS_PENDING = "renditions are requested, and no lease is running"
    NO_ATTEMPT = "no attempt was made"
    RETRYABLE = "its failure code is among those to try again, and its upload is kept"
    URL_EXPIRED = "the upload URL has expired"
    CLEANED_UP = "its objects are gone, and it has been kept long enough"


State = ImageStatus | Hidden


@dataclass(frozen=True, slots=True)
class Transition:
    change: Change
    sources: tuple[State, ...]
    target: State | None
    """None for the same state."""
    guard: Guard = Guard.NONE


TRANSITIONS = (
    Transition(Change.CREATE, (Hidden.ABSENT,), ImageStatus.PENDING),
    Transition(Change.RESERVE, (Hidden.ABSENT,), ImageStatus.AWAITING_UPLOAD),
    Transition(Change.ARRIVE, (ImageStatus.AWAITING_UPLOAD,), ImageStatus.PENDING),
    Transition(Change.REQUEST, (ImageStatus.AWAITING_UPLOAD, ImageStatus.FAILED), ImageStatus.PENDING),
    Transition(Change.REQUEST, (ImageStatus.PENDING, ImageStatus.PROCESSING, ImageStatus.SUCCEEDED), None),
    Transition(Change.CLAIM, (ImageStatus.AWAITING_UPLOAD, ImageStatus.PENDING), ImageStatus.PROCESSING),
    Transition(Change.CLAIM, (ImageStatus.PROCESSING,), ImageStatus.PROCESSING, Guard.LEASE_EXPIRED),
    Transition(Change.CLAIM, (ImageStatus.SUCCEEDED,), None, Guard.RENDITIONS_PENDING),
    Transition(Change.RELEASE, (ImageStatus.PROCESSING,), ImageStatus.PENDING, Guard.HELD),
    Transition(Change.RELEASE, (ImageStatus.SUCCEEDED,), None, Guard.HELD),
    Transition(Change.SUCCEED, (ImageStatus.PROCESSING, ImageStatus.SUCCEEDED), ImageStatus.SUCCEEDED, Guard.HELD),
    Transition(Change.FAIL, (ImageStatus.PROCESSING,), ImageStatus.FAILED, Guard.HELD),
    Transition(Change.FAIL, (ImageStatus.SUCCEEDED,), None, Guard.HELD),  # only the requested renditions fail
    Transition(Change.GIVE_UP, (ImageStatus.AWAITING_UPLOAD, ImageStatus.PENDING), ImageStatus.FAILED),
    Transition(Change.GIVE_UP, (ImageStatus.PROCESSING,), ImageStatus.FAILED, Guard.LEASE_EXPIRED),
    Transition(Change.RETRY, (ImageStatus.FAILED,), ImageStatus.PENDING, Guard.RETRYABLE),
    Transition(Change.DELETE, tuple(ImageStatus), Hidden.DELETED),
    Transition(Change.FORGET, (ImageStatus.PENDING,), Hidden.ABSENT, Guard.NO_ATTEMPT),
    Transition(Change.EXPIRE, (ImageStatus.AWAITING_UPLOAD,), Hidden.DELETED, Guard.URL_EXPIRED),
    Transition(Change.CLEAN_UP, (Hidden.DELETED,), None, Guard.NO_LEASE),
    Transition(Change.PURGE, (Hidden.DELETED,), Hidden.ABSENT, Guard.CLEANED_UP),
)
"""All transitions of an image: what happens, from which states, to which, and under which condition. In any other state
nothing changes. `repositories/lifecycle.py` has the statements that carry them out.
"""


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why an image, or one of its renditions, cannot be made."""

    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    name: str
    content_type: str
    width: int
    """px"""
    height: int
    """px"""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FailedRendition:
    name: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class Thumbnail:
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    uuid: UUID
    filename: str
    description: str | None
    status: ImageStatus
    created_at: datetime
    completed_at: datetime | None
    """Time at which the last requested rendition was made or failed."""
    collection_id: UUID | None
    content_type: str | None
    """The original's real type, detected from its bytes."""
    size_bytes: int | None
    """The original's size."""
    width: int | None
    """px, after orientation"""
    height: int | None
    """px, after orientation"""
    sha256: str | None
    """Of the original's bytes, in hexadecimal."""
    metadata: ImageMetadata | None
    """As extracted when the image arrived."""
    renditions: tuple[Rendition, ...]
    pending_renditions: tuple[str, ...]
    """Names of renditions that are requested and not made yet."""
    failed_renditions: tuple[FailedRendition, ...]
    failure: Failure | None
    attempts: int
    """Attempts at processing since the last request that started the count anew."""
    thumbnail: Thumbnail | None
    """Only of a succeeded image, and only if it was read with it."""


@dataclass(frozen=True, slots=True)
class SimilarImage:
    image: Image
    distance: int
    """Bits in which the perceptual hashes differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEnd:
    """The end of an image, as its event describes it."""

    uuid: UUID
    tenant: str
    filename: str
    content_type: str | None
    size_bytes: int | None
    width: int | None
    """px, after orientation"""
    height: int | None
    """px, after orientation"""
    renditions: tuple[Rendition, ...]
    failure: Failure | None
    """None if it succeeded."""
    completed_at: datetime
    attempts: int
    traceparent: str | None
    """The trace of the request that asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageState:
    """The state of an image that may be hidden or deleted."""

    tenant: str
    status: ImageStatus
    deleted: bool
    original_key: str | None
    held: bool
    """A worker holds a claim on it."""
    announced: bool
    """No end of it is still to be announced."""
    failure: FailureCode | None
    ended_at: datetime | None
    upload_id: str | None
    """The store's ID of a multipart upload that was begun and not completed."""

    def is_upload_worthless(self, uploaded_at: datetime) -> bool:
        """Return whether an upload of that time is the one that the image failed with, and isn't worth keeping."""
        judged = self.ended_at is not None and uploaded_at + timedelta(seconds=1) < self.ended_at
        return judged and self.failure in NOT_WORTH_KEEPING


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    uuid: UUID
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime
    image_count: int
