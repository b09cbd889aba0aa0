"""Data that is stored about images and callers, and receipts of erasures, as the API shows them."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from shared_lib.domain import privacy as domain
from shared_lib.domain.timestamps import Time
from shared_lib.settings import Settings
from shared_lib.web.schemas import ApiModel

ReceiptId = Annotated[UUID, Field(examples=["5b0f7a52-3a2e-4c0e-9f43-0d9f6f1f9b11"])]


class HeldObject(ApiModel):
    """An object in the store."""

    key: str = Field(examples=["originals/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08.jpg"])
    size_bytes: int | None = Field(examples=[174351])
    sha256: str | None = Field(
        description="Of an original.", examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
    )
    shared: bool = Field(
        description="Other images have the same original, which stays until the last of them is gone.",
        examples=[False],
    )


class Retention(ApiModel):
    """Days after which what remains is deleted by itself."""

    tombstone: int = Field(description="The uuid of a deleted image.", examples=[7])
    dead_letters: int = Field(examples=[30])
    events: int = Field(description="In Kafka, with filenames and object keys.", examples=[1])
    audit_log: int = Field(examples=[400])
    receipts: int = Field(examples=[400])


class ImagePrivacy(ApiModel):
    """Data that is stored about an image."""

    personal: tuple[str, ...] = Field(
        description="Fields that may tell something about a person, and have a value.",
        examples=[["filename", "thumbnail", "metadata.location"]],
    )
    objects: tuple[HeldObject, ...]
    rows: dict[str, int] = Field(description="Rows about it, by table.", examples=[{"images": 1, "renditions": 1}])
    retention: Retention


class CallerPrivacy(ApiModel):
    """Data that is stored about a caller."""

    keys: int = Field(description="API keys that it made.", examples=[2])
    rates: int = Field(description="Counts of its requests, kept for a minute.", examples=[1])
    images: int = Field(description="Images that it asked for, and that have not ended.", examples=[0])
    audit_records: int = Field(description="Records of what it did, with its address.", examples=[14])
    first_record_at: Time | None
    last_record_at: Time | None
    retention: Retention


class Receipt(ApiModel):
    """An erasure: what there was, and when it was gone."""

    id: ReceiptId
    image: UUID = Field(examples=["0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11"])
    requested_at: Time
    requested_by: str = Field(examples=["key:4tR9kQ2mZx"])
    objects: tuple[HeldObject, ...]
    rows: dict[str, int] = Field(description="Rows about it, by table.", examples=[{"images": 1, "renditions": 1}])
    completed_at: Time | None = Field(
        description="When nothing was left. Null: the store has yet to delete some objects. Ask again."
    )
    digest: str | None = Field(
        description="SHA-256, which the audit log has too, in `image_erased`. Null until it is complete.",
        examples=["b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"],
    )
    retention: Retention


def describe_retention(settings: Settings) -> Retention:
    return Retention(
        tombstone=settings.processing.retention_days,
        dead_letters=settings.processing.dead_letter_days,
        events=settings.kafka.retention_days,
        audit_log=settings.audit.retention_days,
        receipts=settings.audit.retention_days,
    )


def show_image(holdings: domain.ImageHoldings, settings: Settings) -> ImagePrivacy:
    return ImagePrivacy(
        personal=holdings.personal,
        objects=tuple(map(_show_object, holdings.objects)),
        rows=dict(holdings.rows),
        retention=describe_retention(settings),
    )


def show_caller(holdings: domain.CallerHoldings, settings: Settings) -> CallerPrivacy:
    return CallerPrivacy(
        keys=holdings.keys,
        rates=holdings.rates,
        images=holdings.images,
        audit_records=holdings.audit_records,
        first_record_at=holdings.first_record_at,
        last_record_at=holdings.last_record_at,
        retention=describe_retention(settings),
    )


def show_receipt(receipt: domain.Receipt, settings: Settings) -> Receipt:
    return Receipt(
        id=receipt.id,
        image=receipt.image,
        requested_at=receipt.requested_at,
        requested_by=receipt.requested_by,
        objects=tuple(map(_show_object, receipt.objects)),
        rows=dict(receipt.rows),
        completed_at=receipt.completed_at,
        digest=receipt.digest,
        retention=describe_retention(settings),
    )


def _show_object(held: domain.HeldObject) -> HeldObject:
    return HeldObject(key=held.key, size_bytes=held.bytes, sha256=held.sha256, shared=held.shared)
