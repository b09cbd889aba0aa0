"""Renditions that were made: where each lies, and whether one that is not there is still to come."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from shared_lib.database.connection import Database
from shared_lib.errors import NotFound
from shared_lib.repositories.rows import VISIBLE_IMAGE

MISSING = "The image has no rendition of that name"
PENDING_SECONDS = 2  # about what it takes to make one

_FIND = f"""
    SELECT r.key, r.content_type, r.size_bytes AS size FROM renditions r JOIN images i ON i.uuid = r.image_id
    WHERE i.uuid = :uuid AND r.name = :name AND {VISIBLE_IMAGE}
"""
_PENDING = f"""
    SELECT 1 FROM images i WHERE i.uuid = :uuid AND {VISIBLE_IMAGE} AND i.status <> 'failed' AND (
        (i.status <> 'succeeded' AND :name = ANY(CAST(:always AS text[])))
        OR EXISTS (SELECT 1 FROM rendition_orders o
                   WHERE o.image_id = i.uuid AND o.name = :name AND o.failure_code IS NULL))
"""


@dataclass(frozen=True)
class StoredRendition:
    """Where a rendition lies in the gallery."""

    key: str
    content_type: str
    size: int

    @property
    def etag(self) -> str:
        """Of its bytes: what the key consists of decides them."""
        return f'"{hashlib.sha256(self.key.encode()).hexdigest()[:32]}"'


class Renditions:
    def __init__(self, database: Database, always: Iterable[str]) -> None:
        """`always` names those that every image gets."""
        self._database = database
        self._always = list(always)

    def find(self, uuid: UUID, name: str) -> StoredRendition:
        """Raises NotFound, with a code of its own for one that is still to be made."""
        with self._database.transaction() as tx:
            row = tx.row(_FIND, uuid=uuid, name=name)
            pending = row is None and tx.row(_PENDING, uuid=uuid, name=name, always=self._always) is not None
        if pending:
            raise NotFound("The rendition is not made yet", code="rendition_pending", retry_after=PENDING_SECONDS)
        if row is None:
            raise NotFound(MISSING, code="rendition_not_found")
        return StoredRendition(**row)
