"""Data that is stored about an image or a caller, and receipts of erasures. No I/O."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared_lib.errors import NotFound


class ReceiptNotFound(NotFound):
    public = "There is no such receipt"
    code = "receipt_not_found"


@dataclass(frozen=True, slots=True)
class HeldObject:
    """An object in the store."""

    key: str
    bytes: int | None
    sha256: str | None = None
    """Of an original."""
    shared: bool = False
    """Other images of the tenant have the same original. It stays until the last of them is gone."""


@dataclass(frozen=True, slots=True)
class ImageHoldings:
    """Data that is stored about an image."""

    personal: tuple[str, ...]
    """Names of fields that may tell something about a person, and have a value."""
    objects: tuple[HeldObject, ...]
    rows: Mapping[str, int]
    """Rows about it, by table."""


@dataclass(frozen=True, slots=True)
class CallerHoldings:
    """Data that is stored about a caller."""

    keys: int
    """API keys that it made."""
    rates: int
    images: int
    """Images that it asked for, and that have not ended."""
    audit_records: int
    first_record_at: datetime | None
    last_record_at: datetime | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """An erasure: what there was, and when it was gone."""

    id: UUID
    image: UUID
    requested_at: datetime
    requested_by: str
    objects: tuple[HeldObject, ...]
    rows: Mapping[str, int]
    completed_at: datetime | None
    """None: the store has yet to delete some objects."""

    @property
    def digest(self) -> str | None:
        """The SHA-256 that the audit log has of a complete receipt."""
        if self.completed_at is None:
            return None
        objects = sorted([each.key, each.bytes, each.sha256, each.shared] for each in self.objects)
        told = [f"{self.id}", f"{self.image}", self.requested_by, objects, dict(self.rows)]
        times = [each.timestamp() for each in (self.requested_at, self.completed_at)]
        return hashlib.sha256(json.dumps([*told, *times], sort_keys=True).encode()).hexdigest()
