"""Images as the API shows them, and the parameters that many endpoints share.

The `show_…` functions make them of the domain's records. URLs, data URLs and camelCase names exist only here.
"""

import base64
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, computed_field
from pydantic.alias_generators import to_camel

from shared_lib.constraints import NAME_PATTERN
from shared_lib.domain import images as domain
from shared_lib.domain.images import CONTROL, MAX_DISTANCE, MAX_FILENAME, ImageStatus
from shared_lib.domain.timestamps import Time
from shared_lib.errors import FailureCode
from shared_lib.pipeline.metadata import model

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_NO_CONTROL = {"pattern": r"^[^\u0000-\u001f\u007f]*$"}
_NOT_BLANK = {"pattern": r"^[^\u0000-\u001f\u007f]*[^\u0000-\u001f\u007f\s][^\u0000-\u001f\u007f]*$"}
_NO_NUL = {"pattern": r"^[^\u0000]*$"}


def _check_control_characters(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError("must not contain control characters")
    return text


def _check_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain NUL characters")
    return text


def _check_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


# The validators give a readable message. The schema has the same rule as a pattern.
Filename = Annotated[
    str,
    Field(min_length=1, max_length=MAX_FILENAME, json_schema_extra=_NO_CONTROL, examples=["harbor.jpg"]),
    AfterValidator(_check_control_characters),
]
Description = Annotated[
    str,
    Field(max_length=10_000, json_schema_extra=_NO_NUL, examples=["The harbor at dawn"]),
    AfterValidator(_check_nul),
]
CollectionName = Annotated[
    str,
    Field(min_length=2, max_length=255, json_schema_extra=_NOT_BLANK, examples=["Holidays"]),
    AfterValidator(_check_control_characters),
    AfterValidator(_check_blank),
]
SearchText = Annotated[str, Field(max_length=255, json_schema_extra=_NO_NUL), AfterValidator(_check_nul)]
PrincipalName = Annotated[
    str, Field(min_length=1, max_length=600, json_schema_extra=_NO_NUL), AfterValidator(_check_nul)
]

RenditionName = Annotated[str, NAME_PATTERN, Field(examples=["thumbnail"])]

# The page at /api-docs/ replaces these with the newest image and collection.
ImageId = Annotated[UUID, Field(examples=["0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11"])]
CollectionId = Annotated[UUID, Field(examples=["7d1f6a0e-3c61-4f0e-9b57-0a4c8a1f6f2b"])]


class ApiModel(BaseModel):
    """An immutable JSON object with camelCase names. Built on first use: a function uses few of them."""

    model_config = ConfigDict(
        defer_build=True, frozen=True, alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True
    )


@dataclass(frozen=True, kw_only=True)
class ImageMetadata(model.ImageMetadata):
    """Metadata extracted from an image. A field is null if the image has no such value, or an implausible one."""

    # Computed, because callers could derive it themselves: nothing stores it.
    @computed_field(examples=["#b5651d"])  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def dominant_color(self) -> str | None:
        return self.palette[0].color if self.palette else None


class Rendition(ApiModel):
    name: str = Field(examples=["thumbnail"])
    url: str = Field(
        description="Path of its bytes on this host.",
        examples=["/api/v1/images/0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11/renditions/thumbnail"],
    )
    content_type: str = Field(examples=["image/jpeg"])
    width: int = Field(description="px", examples=[100])
    height: int = Field(description="px", examples=[100])
    size_bytes: int = Field(examples=[3121])


class Failure(ApiModel):
    code: FailureCode = Field(examples=[FailureCode.CORRUPT_IMAGE])
    message: str = Field(examples=["The JPEG file is damaged or incomplete."])


class FailedRendition(ApiModel):
    name: str = Field(examples=["hero"])
    error: Failure


_EXAMPLE_METADATA = {
    "frames": 1,
    "hasAlpha": False,
    "colorSpace": "srgb",
    "profile": "sRGB IEC61966-2.1",
    "bitDepth": 8,
    "capturedAt": "2026-03-08T19:02:11+01:00",
    "cameraMake": "Canon",
    "cameraModel": "EOS R6",
    "lensModel": "RF24-105mm F4 L IS USM",
    "location": None,
    "palette": [{"color": "#b5651d", "share": 0.42}],
    "thumbHash": "1QcSHQRnh493V4dIh4eXh1h4kJUI",
    "blurHash": "LEHV6nWB2yk8pyo0adR*.7kCMdnj",
    "perceptualHash": "c3d4e1b0a5f69278",
    "dominantColor": "#b5651d",
}


class Image(ApiModel):
    """The image object of the HTTP contract."""

    uuid: ImageId
    filename: str = Field(examples=["harbor.jpg"])
    description: str | None = Field(examples=["The harbor at dawn"])
    status: ImageStatus = Field(examples=[ImageStatus.SUCCEEDED])
    created_at: Time
    completed_at: Time | None = Field(description="When the last requested rendition was made or failed.")
    collection_id: UUID | None = Field(examples=[None])
    content_type: str | None = Field(
        description="The original's real type, detected from its bytes.", examples=["image/jpeg"]
    )
    size_bytes: int | None = Field(description="The original's size.", examples=[174351])
    width: int | None = Field(description="px, after orientation", examples=[1600])
    height: int | None = Field(description="px, after orientation", examples=[1200])
    sha256: str | None = Field(
        description="Of the original's bytes.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )
    metadata: ImageMetadata | None = Field(
        description="Extracted when the image arrived.", examples=[_EXAMPLE_METADATA]
    )
    renditions: tuple[Rendition, ...] = ()
    pending_renditions: tuple[str, ...] = Field(
        default=(), description="Names of renditions that are requested and not made yet.", examples=[[]]
    )
    failed_renditions: tuple[FailedRendition, ...] = Field(
        default=(), description="Renditions that cannot be made of this image, and why.", examples=[[]]
    )
    error: Failure | None = Field(examples=[None])
    attempts: int = Field(description="Attempts at processing since it was last requested.", examples=[1])
    image_data: str | None = Field(
        default=None,
        exclude_if=lambda data: data is None,
        description="The thumbnail as a data URL. Only of succeeded images, and only if requested.",
        examples=["data:image/jpeg;base64,/9j/4AAQSkZJRgABAQ=="],
    )


class SimilarImage(Image):
    distance: int = Field(
        ge=0, le=MAX_DISTANCE, description="Bits in which the perceptual hashes differ.", examples=[2]
    )


class Message(ApiModel):
    message: str


class MetaMessage(ApiModel):
    meta: Message


def show_image(image: domain.Image, *, with_location: bool = False) -> Image:
    """Return the API's object for an image, without the place where it was taken unless `with_location`."""
    return Image(**_describe_image(image, with_location=with_location))


def show_similar_image(similar: domain.SimilarImage) -> SimilarImage:
    return SimilarImage(**_describe_image(similar.image), distance=similar.distance)


def rendition_url(uuid: UUID, name: str) -> str:
    """Return the path of a rendition's bytes on this host."""
    return f"/api/v1/images/{uuid}/renditions/{name}"


def _describe_image(image: domain.Image, *, with_location: bool = False) -> dict[str, Any]:
    shown = _describe(image) | {
        "metadata": image.metadata and _show_metadata(image.metadata, with_location=with_location),
        "renditions": tuple(
            Rendition(**_describe(each), url=rendition_url(image.uuid, each.name)) for each in image.renditions
        ),
        "failed_renditions": tuple(
            FailedRendition(name=each.name, error=_show_failure(each.failure)) for each in image.failed_renditions
        ),
        "error": image.failure and _show_failure(image.failure),
        "image_data": image.thumbnail and _make_data_url(image.thumbnail),
    }
    return {name: value for name, value in shown.items() if name not in ("failure", "thumbnail")}


def _show_metadata(metadata: model.ImageMetadata, *, with_location: bool) -> ImageMetadata:
    location = metadata.location if with_location else None
    return ImageMetadata(**vars(metadata) | {"location": location})


def _show_failure(failure: domain.Failure) -> Failure:
    return Failure(code=failure.code, message=failure.message)


def _make_data_url(thumbnail: domain.Thumbnail) -> str:
    return f"data:{thumbnail.content_type};base64,{base64.b64encode(thumbnail.data).decode()}"


def _describe(record: "DataclassInstance") -> dict[str, Any]:
    """Return a record's fields by name, as they are."""
    return {name: getattr(record, name) for name in _list_fields(type(record))}


@cache
def _list_fields(kind: "type[DataclassInstance]") -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
