"""Originals, each stored once for all images that have the same bytes.

An image references its original's key before the object is written, and an object is deleted only while nobody
references it. Before it is deleted its key is reserved, for as long as a request to the store may take. Until then
nobody references the key, and an image that does so afterwards finds no object and writes it again. So the lock on a
key is held only for these statements, never during a request to the store.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared_lib.backoff import Backoff
from shared_lib.database.connection import Database, Transaction
from shared_lib.database.driver import Prepared
from shared_lib.errors import Conflict
from shared_lib.pipeline.formats import BY_EXTENSION
from shared_lib.repositories.rows import VISIBLE_IMAGE, require_published

REQUEST_SECONDS = 120
"""Longer than writing or deleting an object takes, with all retries of the store's client."""

NOT_BEING_REMOVED = "NOT EXISTS (SELECT 1 FROM original_removals WHERE key = :key AND ends_at > now())"
"""The condition on which an image may reference a key."""

_NAMING_SECONDS = 5  # that a worker waits for a removal, which usually takes some milliseconds
_LOCK_KEY = Prepared("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")
_FIND_ORIGINALS = """
    SELECT uuid, original_key FROM images
    WHERE tenant_id = :tenant AND uuid = ANY(CAST(:uuids AS uuid[])) AND status = 'succeeded' AND deleted_at IS NULL
"""
_LOCATE = f"""
    SELECT i.status, i.filename, i.original_key AS key, i.content_type, i.sha256, i.size_bytes AS size FROM images i
    WHERE i.uuid = :uuid AND {VISIBLE_IMAGE}
"""
_HAS_IMAGE = "SELECT 1 FROM images WHERE original_key = :key AND deleted_at IS NULL LIMIT 1"
_IS_BEING_REMOVED = "SELECT 1 FROM original_removals WHERE key = :key AND ends_at > now()"
_BEGIN_REMOVAL = """
    INSERT INTO original_removals (key, ends_at) VALUES (:key, now() + make_interval(secs => :seconds))
    ON CONFLICT (key) DO UPDATE SET ends_at = excluded.ends_at RETURNING ends_at
"""
_END_REMOVAL = "DELETE FROM original_removals WHERE key = :key AND ends_at = :ends_at"


@dataclass(frozen=True, slots=True)
class StoredOriginal:
    """A processed image's original in the gallery."""

    filename: str
    """As its owner named it."""
    key: str
    content_type: str
    """The real one, detected from its bytes."""
    sha256: str
    """In hexadecimal."""
    size: int
    """bytes"""

    @property
    def etag(self) -> str:
        return f'"{self.sha256[:32]}"'

    @property
    def download_name(self) -> str:
        """The filename, with the real extension behind a name that is not one of an image: it decides what opens it."""
        ending = self.filename.rpartition(".")[2].lower()
        return self.filename if ending in BY_EXTENSION else f"{self.filename}.{self.key.rpartition('.')[2]}"


@dataclass(frozen=True, slots=True)
class Named:
    """An original at the moment when an image begins to name it."""

    is_published: bool
    """An equal image has published the same original."""


class BeingRemoved(Conflict):
    """An original is being deleted from the store. Its key is free again soon."""

    def __init__(self) -> None:
        super().__init__("The original is being removed", code="original_being_removed")


def lock(tx: Transaction, key: str) -> None:
    """Let no one else name or remove this original before the transaction ends."""
    tx.queue(_LOCK_KEY, key=key)


def name(database: Database, key: str, sql: str, **parameters: Any) -> dict[str, Any] | None:  # noqa: ANN401  columns
    """Run a statement by which an image references the key, and return its row, or None if it matches no image.

    The statement includes NOT_BEING_REMOVED. Raises BeingRemoved if the key is still reserved after some seconds.
    """
    backoff = Backoff(time.monotonic() + _NAMING_SECONDS)
    while True:
        with database.transaction() as tx:
            lock(tx, key)
            if row := tx.row(sql, key=key, **parameters):
                return row
            is_being_removed = tx.row(_IS_BEING_REMOVED, key=key)
            if is_being_removed is None:  # nor is it until the lock is released: it may just have ended
                return tx.row(sql, key=key, **parameters)
        if not backoff.sleep():
            raise BeingRemoved


class Originals:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, uuids: Iterable[UUID], tenant: str | None = None) -> dict[UUID, str]:
        """Return the keys of these images' originals, without images that are gone, not processed or another tenant's.

        The tenant is the caller's by default. A worker has none.
        """
        if not (wanted := list(uuids)):
            return {}
        named = {"tenant": tenant} if tenant else {}
        with self._database.transaction() as tx:
            return {row["uuid"]: row["original_key"] for row in tx.rows(_FIND_ORIGINALS, uuids=wanted, **named)}

    def locate(self, uuid: UUID) -> StoredOriginal:
        """Return a processed image's original. Raises NotFound, with a code of its own for any other image."""
        with self._database.transaction() as tx:
            row = tx.row(_LOCATE, uuid=uuid)
        return StoredOriginal(**require_published(row))

    def release(self, key: str, delete: Callable[[str], None]) -> bool:
        """Call `delete` with the key unless an image references it. Return whether it was called.

        Raises BeingRemoved while another removal is under way, and whatever `delete` raises. The store may still carry
        that out, so the key stays reserved for `REQUEST_SECONDS`.
        """
        with self._database.transaction() as tx:
            lock(tx, key)
            if tx.row(_HAS_IMAGE, key=key):
                return False
            if tx.row(_IS_BEING_REMOVED, key=key):
                raise BeingRemoved
            removal = tx.rows(_BEGIN_REMOVAL, key=key, seconds=REQUEST_SECONDS)[0]
        delete(key)
        with self._database.transaction() as tx:
            tx.rows(_END_REMOVAL, key=key, **removal)
        return True
