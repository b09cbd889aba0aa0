"""Images and collections as plain records, and the states that an image goes through."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, Literal, TypeVar
from uuid import UUID

from shared_lib.errors import NOT_WORTH_KEEPING, FailureCode
from shared_lib.pipeline.metadata.model import Knowledge

MAX_FILENAME = 255
"""Characters."""

MAX_DISTANCE = 11
"""Bits in which the perceptual hashes of similar images may differ; the index does not find larger distances."""

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""Characters that no filename or collection name may contain."""


class Status(StrEnum):
    """`awaiting_upload` → `pending` → `processing` → `succeeded` | `failed`; a failed image may be tried again."""

    AWAITING_UPLOAD = "awaiting_upload"
    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (Status.SUCCEEDED, Status.FAILED)


VISIBLE = tuple(status for status in Status if status is not Status.AWAITING_UPLOAD)
"""Statuses of images that callers can see: an image that still awaits its upload does not exist for them."""


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
    status: Status
    created_at: datetime
    completed_at: datetime | None
    """When the last requested rendition was made or failed."""
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
    metadata: Knowledge | None
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
class ImageState:
    """What the database knows of an image that may be hidden or deleted."""

    status: Status
    deleted: bool
    original_key: str | None
    held: bool
    """A worker holds a claim on it."""
    announced: bool
    """The event for its last end was published."""
    failure: FailureCode | None
    ended_at: datetime | None

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


SortColumn = Literal["created_at", "updated_at", "filename", "status"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """A page of a list, and the order of the list."""

    page: int = 1
    limit: int = 10
    sort: Literal["asc", "desc"] = "desc"
    sort_by: SortColumn = "created_at"
    search: str = ""
    """Only items that contain this text; empty for all."""

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.limit


Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    items: list[Item]
    total: int
    """How many items match in all."""
