"""Originals, each stored once for all images that have the same bytes.

An image names its original's key before the object is written, and an object goes only while nobody names it. Whoever
removes one says so beforehand, for as long as a request to the store may take: until then nobody names the key, and who
names it afterwards finds that the object is gone, and writes it. A lock on the key is held for these statements alone.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

from shared_lib.database.connection import Database, Transaction
from shared_lib.errors import Conflict

REMOVAL_SECONDS = 120
"""Longer than removing an object takes, with all of its client's retries."""

_NAMING_SECONDS = 5  # that a worker waits for a removal: usually it takes some milliseconds
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"
_FIND = """
    SELECT uuid, original_key FROM images
    WHERE uuid = ANY(CAST(:uuids AS uuid[])) AND status = 'succeeded' AND deleted_at IS NULL
"""
_NAMED = "SELECT 1 FROM images WHERE original_key = :key AND deleted_at IS NULL LIMIT 1"


_REMOVING = "SELECT 1 FROM original_removals WHERE key = :key AND ends_at > now()"
_BEGIN_REMOVAL = """
    INSERT INTO original_removals (key, ends_at) VALUES (:key, now() + make_interval(secs => :seconds))
    ON CONFLICT (key) DO UPDATE SET ends_at = excluded.ends_at RETURNING ends_at
"""
_END_REMOVAL = "DELETE FROM original_removals WHERE key = :key AND ends_at = :ends_at"


class BeingRemoved(Conflict):
    """An original is being removed from the store; its key is free again soon."""

    def __init__(self) -> None:
        super().__init__("The original is being removed", code="original_being_removed")


@contextmanager
def naming(database: Database, key: str) -> Iterator[Transaction]:
    """A transaction in which the key may be named. Raises BeingRemoved when it is still reserved after some seconds."""
    until = time.monotonic() + _NAMING_SECONDS
    while True:
        with database.transaction() as tx:
            tx.rows(_LOCK, key=key)
            if tx.row(_REMOVING, key=key) is None:
                yield tx
                return
        if time.monotonic() > until:
            raise BeingRemoved
        time.sleep(0.1)


class Originals:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, uuids: Iterable[UUID]) -> dict[UUID, str]:
        """The keys of these images' originals; images that are gone, or not processed, are left out."""
        with self._database.transaction() as tx:
            return {row["uuid"]: row["original_key"] for row in tx.rows(_FIND, uuids=list(uuids))}

    def release(self, key: str, remove: Callable[[str], None]) -> bool:
        """
        Have the object removed, unless an image names it. Answers whether it was.

        Raises BeingRemoved while a removal is under way, and whatever `remove` raises. The store may still carry that
        out, so the key stays reserved for `REMOVAL_SECONDS`.
        """
        with self._database.transaction() as tx:
            tx.rows(_LOCK, key=key)
            if tx.row(_NAMED, key=key):
                return False
            if tx.row(_REMOVING, key=key):
                raise BeingRemoved
            removal = tx.rows(_BEGIN_REMOVAL, key=key, seconds=REMOVAL_SECONDS)[0]
        remove(key)
        with self._database.transaction() as tx:
            tx.rows(_END_REMOVAL, key=key, **removal)
        return True
