"""Find published renditions, and tell a missing one from one that is still to be made."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from shared_lib.database.connection import Database
from shared_lib.errors import NotFound
from shared_lib.repositories.rows import VISIBLE_IMAGE

PENDING_SECONDS = 2  # about as long as it takes to make one

# In one statement, and so of one moment: a rendition that is published between two of them would be in neither.
_FIND_RENDITION = f"""
    SELECT r.key, r.content_type, r.size_bytes AS size, CASE WHEN r.key IS NULL THEN i.thumbnail END AS thumbnail,
           r.image_id IS NOT NULL AS is_made,
           r.image_id IS NULL AND i.status <> 'failed' AND (
               (i.status <> 'succeeded' AND :name = ANY(CAST(:defaults AS text[])))
               OR EXISTS (SELECT 1 FROM rendition_requests q
                          WHERE q.image_id = i.uuid AND q.name = :name AND q.failure_code IS NULL)) AS is_pending
    FROM images i LEFT JOIN renditions r ON r.image_id = i.uuid AND r.name = :name
    WHERE i.uuid = :uuid AND {VISIBLE_IMAGE}
"""


class RenditionNotFound(NotFound):
    public = "The image has no rendition of that name"
    code = "rendition_not_found"


@dataclass(frozen=True, slots=True)
class StoredRendition:
    """A rendition in the gallery, or a thumbnail, which has its bytes in the database."""

    content_type: str
    size: int
    key: str | None
    thumbnail: bytes | None

    @property
    def extension(self) -> str:
        return self.content_type.partition("/")[2]

    @property
    def etag(self) -> str:
        """The ETag. The key identifies the bytes."""
        identity = self.key.encode() if self.key else self.thumbnail or b""
        return f'"{hashlib.sha256(identity).hexdigest()[:32]}"'


class Renditions:
    def __init__(self, database: Database, defaults: Iterable[str]) -> None:
        """`defaults` are the names of the renditions that every image gets."""
        self._database = database
        self._defaults = list(defaults)

    def find(self, uuid: UUID, name: str) -> StoredRendition:
        """Return a rendition. Raises NotFound, with a code of its own if it is still to be made."""
        with self._database.transaction() as tx:
            rows = tx.last(_FIND_RENDITION, uuid=uuid, name=name, defaults=self._defaults)
        if not rows:
            raise RenditionNotFound
        [row] = rows
        is_made, is_pending = row.pop("is_made"), row.pop("is_pending")
        if is_pending:
            raise NotFound("The rendition is not made yet", code="rendition_pending", retry_after=PENDING_SECONDS)
        if not is_made:
            raise RenditionNotFound
        return StoredRendition(**row)
