"""The audit log: what is recorded, and how records are chained. No I/O."""

import hashlib
import json
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from enum import StrEnum

GENESIS = bytes(32)
"""The hash before the first link."""


class Action(StrEnum):
    """An action that somebody took, or was not allowed to take."""

    ACCESS_DENIED = "access_denied"
    API_KEY_CREATED = "api_key_created"
    API_KEY_ROTATED = "api_key_rotated"
    API_KEY_REVOKED = "api_key_revoked"
    AUDIT_PURGED = "audit_purged"
    COLLECTION_DELETED = "collection_deleted"
    DEAD_LETTER_DISCARDED = "dead_letter_discarded"
    FAILURES_REDRIVEN = "failures_redriven"
    IMAGE_DELETED = "image_deleted"
    IMAGE_ERASED = "image_erased"
    LINK_SIGNED = "link_signed"
    LINKS_REVOKED = "links_revoked"
    PRESET_DELETED = "preset_deleted"
    PRESET_SAVED = "preset_saved"
    TENANT_CREATED = "tenant_created"
    TENANT_DELETED = "tenant_deleted"


@dataclass(frozen=True, slots=True)
class Actor:
    """A caller, its address and its request."""

    principal: str
    address: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """A record. It never changes."""

    id: int
    tenant_id: str
    recorded_at: datetime
    principal: str
    address: str
    request_id: str
    action: str
    subject: str
    """An id, or the name of an endpoint."""
    details: str
    """JSON."""

    def digest(self, previous: bytes) -> bytes:
        """Return the hash of the link that holds this record, after a link with the hash `previous`."""
        moment = self.recorded_at.astimezone(UTC).isoformat(timespec="microseconds")
        fields = [moment if isinstance(each, datetime) else each for each in astuple(self)]
        return hashlib.sha256(previous + json.dumps(fields, separators=(",", ":")).encode()).digest()
