"""Originals, each stored once for all images that have the same bytes.

An image names its original's key before the object is written, and an object goes only while nobody names it. A lock on
the key keeps the two apart: who names a key afterwards finds that the object is gone, and writes it.
"""

from collections.abc import Callable, Iterable
from uuid import UUID

from shared_lib.database import Database, Transaction

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"
_FIND = """
    SELECT uuid, original_key FROM images
    WHERE uuid = ANY(CAST(:uuids AS uuid[])) AND status = 'succeeded' AND deleted_at IS NULL
"""
_NAMED = "SELECT 1 FROM images WHERE original_key = :key AND deleted_at IS NULL LIMIT 1"


def lock(tx: Transaction, key: str) -> None:
    """Until the transaction ends, nobody else names the key or removes what lies there."""
    tx.rows(_LOCK, key=key)


class Originals:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, uuids: Iterable[UUID]) -> dict[UUID, str]:
        """The keys of these images' originals; images that are gone, or not processed, are left out."""
        with self._database.transaction() as tx:
            return {row["uuid"]: row["original_key"] for row in tx.rows(_FIND, uuids=list(uuids))}

    def release(self, key: str, remove: Callable[[str], None]) -> bool:
        """Have the object removed, unless an image names it. Answers whether it was."""
        with self._database.transaction() as tx:
            lock(tx, key)
            unused = tx.row(_NAMED, key=key) is None
            if unused:
                remove(key)
        return unused
