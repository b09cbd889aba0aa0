"""Images and collections as everyone sees them, their states, and which change is allowed when: pure.

An Image is immutable and serialises, by alias, to exactly the image object of the HTTP contract.
"""

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    computed_field,
)
from pydantic.alias_generators import to_camel

from shared_lib.errors import FailureCode
from shared_lib.pipeline.metadata import model

MAX_FILENAME = 255
"""Characters."""

MAX_DISTANCE = 11
"""Bits of a perceptual hash in which images may differ to be called alike; further ones are not indexed."""

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_CONTROL = {"pattern": r"^[^\u0000-\u001f\u007f]*$"}
_NO_NUL = {"pattern": r"^[^\u0000]*$"}


def _refuse_control_characters(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError("must not contain control characters")
    return text


def _refuse_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain NUL characters")
    return text


# The checks speak in sentences; the schema says the same as a pattern.
Filename = Annotated[
    str,
    Field(min_length=1, max_length=MAX_FILENAME, json_schema_extra=_NO_CONTROL, examples=["harbour.jpg"]),
    AfterValidator(_refuse_control_characters),
]
Description = Annotated[
    str,
    Field(max_length=10_000, json_schema_extra=_NO_NUL, examples=["The harbour at dawn"]),
    AfterValidator(_refuse_nul),
]
CollectionName = Annotated[
    str,
    Field(min_length=2, max_length=255, json_schema_extra=_NO_CONTROL, examples=["Holidays"]),
    AfterValidator(_refuse_control_characters),
]
SearchText = Annotated[str, Field(max_length=255, json_schema_extra=_NO_NUL), AfterValidator(_refuse_nul)]


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as the contract has it: `2026-03-08T19:02:11.614Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[
    datetime,
    PlainSerializer(format_time, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-03-08T19:02:11.614Z"]}),
]
# The page at /api-docs/ puts the newest image and collection in their place.
ImageId = Annotated[UUID, Field(examples=["0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11"])]
CollectionId = Annotated[UUID, Field(examples=["7d1f6a0e-3c61-4f0e-9b57-0a4c8a1f6f2b"])]


class View(BaseModel):
    """What callers read: camelCase names, immutable."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)


class Status(StrEnum):
    """`awaiting_upload` → `pending` → `processing` → `succeeded` | `failed`; a failed one may be replayed."""

    AWAITING_UPLOAD = "awaiting_upload"
    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (Status.SUCCEEDED, Status.FAILED)


VISIBLE = tuple(status for status in Status if status is not Status.AWAITING_UPLOAD)
"""An image that still awaits its upload does not exist for callers."""


@dataclass(frozen=True, kw_only=True)
class Knowledge(model.Knowledge):
    """All that is learnt of an image but its format and size. None where the image does not say, or says nonsense."""

    # What callers could find out themselves, so that nobody keeps it.
    @computed_field(examples=["#b5651d"])  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def dominant_colour(self) -> str | None:
        return self.palette[0].colour if self.palette else None


class RenditionView(View):
    name: str = Field(examples=["thumbnail"])
    url: str = Field(
        description="Where its bytes are, on this host.",
        examples=["/api/v1/images/0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11/renditions/thumbnail"],
    )
    content_type: str = Field(examples=["image/jpeg"])
    width: int = Field(description="px", examples=[100])
    height: int = Field(description="px", examples=[100])
    size_bytes: int = Field(examples=[3121])


class Failure(View):
    code: FailureCode = Field(examples=[FailureCode.CORRUPT_IMAGE])
    message: str = Field(examples=["The JPEG file is damaged or incomplete."])


class FailedRendition(View):
    name: str = Field(examples=["hero"])
    error: Failure


_EXAMPLE_DETAILS = {
    "frames": 1,
    "hasAlpha": False,
    "colourSpace": "srgb",
    "profile": "sRGB IEC61966-2.1",
    "bitDepth": 8,
    "capturedAt": "2026-03-08T19:02:11+01:00",
    "cameraMake": "Canon",
    "cameraModel": "EOS R6",
    "lensModel": "RF24-105mm F4 L IS USM",
    "location": None,
    "palette": [{"colour": "#b5651d", "share": 0.42}],
    "thumbHash": "1QcSHQRnh493V4dIh4eXh1h4kJUI",
    "blurHash": "LEHV6nWB2yk8pyo0adR*.7kCMdnj",
    "perceptualHash": "c3d4e1b0a5f69278",
    "dominantColour": "#b5651d",
}


class Image(View):
    """The image object of the HTTP contract."""

    uuid: ImageId
    filename: str = Field(examples=["harbour.jpg"])
    description: str | None = Field(examples=["The harbour at dawn"])
    status: Status = Field(examples=[Status.SUCCEEDED])
    created_at: Time
    completed_at: Time | None = Field(description="When the last thing that was asked for was made or refused.")
    collection_id: UUID | None = Field(examples=[None])
    content_type: str | None = Field(
        description="The real type of the original, sniffed from its bytes.", examples=["image/jpeg"]
    )
    size_bytes: int | None = Field(description="The original's size.", examples=[174351])
    width: int | None = Field(description="px, upright", examples=[1600])
    height: int | None = Field(description="px, upright", examples=[1200])
    sha256: str | None = Field(
        description="Of the original's bytes.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )
    details: Knowledge | None = Field(
        description="What was learnt of the picture when it arrived.", examples=[_EXAMPLE_DETAILS]
    )
    renditions: tuple[RenditionView, ...] = ()
    pending_renditions: tuple[str, ...] = Field(
        default=(), description="Names of those that are still to be made.", examples=[[]]
    )
    failed_renditions: tuple[FailedRendition, ...] = Field(
        default=(), description="What cannot be made of this image, and why.", examples=[[]]
    )
    error: Failure | None = Field(examples=[None])
    attempts: int = Field(description="How often processing was begun.", examples=[1])
    image_data: str | None = Field(
        default=None,
        exclude_if=lambda data: data is None,
        description="The thumbnail as a data URL; only when succeeded and asked for.",
        examples=["data:image/jpeg;base64,/9j/4AAQSkZJRgABAQ=="],
    )


class SimilarImage(Image):
    distance: int = Field(
        ge=0, le=MAX_DISTANCE, description="Bits in which the perceptual hashes differ.", examples=[2]
    )


class Collection(View):
    """The collection object of the HTTP contract."""

    uuid: CollectionId
    name: str = Field(examples=["Holidays"])
    description: str | None = Field(examples=["The summer of 2026"])
    created_at: Time
    updated_at: Time
    image_count: int = Field(examples=[12])


def make_data_url(content_type: str, data: bytes) -> str:
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"


class PageQuery(BaseModel):
    """Which page of a list, in which order. Parameter names are the contract's."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, extra="ignore")

    page: int = Field(default=1, ge=1, le=1_000_000)
    limit: int = Field(default=10, ge=1, le=100)
    sort: Literal["asc", "desc"] = "desc"
    search: SearchText = ""

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.limit

    def place_in(self, total: int) -> "Pagination":
        return Pagination(page=self.page, limit=self.limit, total_items=total, total_pages=-(-total // self.limit))


class Pagination(View):
    page: int = Field(examples=[1])
    limit: int = Field(examples=[10])
    total_items: int = Field(examples=[12])
    total_pages: int = Field(examples=[2])


class Message(View):
    message: str


class MetaMessage(View):
    meta: Message


class CollectionEnvelope(View):
    data: Collection


class ImageReference(View):
    type: Literal["images"]
    uuid: ImageId


class ImageReferences(View):
    """Images by reference, in the manner of JSON:API."""

    data: Annotated[tuple[ImageReference, ...], Field(min_length=1, max_length=100)]

    @property
    def uuids(self) -> list[UUID]:
        return [each.uuid for each in self.data]
