"""Find what reconciliation repairs: rows that wait for something overdue, and differences between rows and objects.

Rows come in batches, the longest waiting first, and the statement that finds them defers them. So the next batch or
tick meets others first, and a row that cannot be repaired, or kills its worker, holds up nobody.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from shared_lib.database.connection import Database, Transaction
from shared_lib.domain.uploads import StoredObject
from shared_lib.repositories import lifecycle

BATCH = 100
"""Rows found at once: few enough that a tick repairs most of what it deferred before its time is up."""
BULK = 500
"""Rows written or read at once where each needs no further work, well within a statement's time limit."""

URL_SKEW_SECONDS = 900
"""A PUT that began in time may end this much after its URL: S3 allows 15 min of clock skew."""
LOCK_SECONDS = 600
"""After which the lock of an inbox is released, if its holder was stopped: as long as Knative lets a tick run."""

_SELECT_CLOCK = "SELECT now() AS now"
_DELETE_EXPIRED_REMOVALS = "DELETE FROM original_removals WHERE ends_at < now()"
_LIST_ORIGINAL_KEYS = """
    SELECT DISTINCT original_key AS key FROM images
    WHERE deleted_at IS NULL AND original_key > :after ORDER BY original_key LIMIT :batch
"""
_LIST_RENDITION_KEYS = "SELECT DISTINCT key FROM renditions WHERE key > :after ORDER BY key LIMIT :batch"
_LIST_DELIVERY_KEYS = "SELECT DISTINCT key FROM deliveries WHERE key > :after ORDER BY key LIMIT :batch"
_IS_PUBLISHED = """
    SELECT 1 FROM images WHERE original_key = :key AND deleted_at IS NULL AND status = 'succeeded'
    UNION ALL SELECT 1 FROM renditions WHERE key = :key
    UNION ALL SELECT 1 FROM deliveries WHERE key = :key LIMIT 1
"""
_IS_REFERENCED = """
    SELECT 1 FROM images WHERE original_key = :key AND deleted_at IS NULL
    UNION ALL SELECT 1 FROM renditions WHERE key = :key
    UNION ALL SELECT 1 FROM deliveries WHERE key = :key LIMIT 1
"""
_TRY_LOCK_INBOX = "SELECT pg_try_advisory_xact_lock(hashtextextended(:inbox, 7226033)) AS locked"
_BEGIN_SCAN = "INSERT INTO scans (bucket, position) VALUES (:bucket, '') ON CONFLICT (bucket) DO NOTHING"
_SELECT_POSITION = "SELECT position FROM scans WHERE bucket = :bucket"
_ADVANCE_SCAN = """
    INSERT INTO scans (bucket, position) VALUES (:bucket, :position)
    ON CONFLICT (bucket) DO UPDATE SET position = excluded.position
"""
_END_SCAN = "DELETE FROM scans WHERE bucket = :bucket"
_ADD_SIZES = """
    INSERT INTO gallery_sizes (tenant_id, counted)
    SELECT tenant_id, bytes FROM unnest(CAST(:tenants AS text[]), CAST(:bytes AS bigint[])) AS found (tenant_id, bytes)
    ORDER BY tenant_id
    ON CONFLICT (tenant_id) DO UPDATE SET counted = gallery_sizes.counted + excluded.counted
"""
_SETTLE_SIZES = "UPDATE gallery_sizes SET bytes = counted, counted = 0"


class Overdue(NamedTuple):
    uuid: UUID
    tenant: str
    created_at: datetime
    succeeded: bool
    """It waits for further renditions."""
    original_key: str | None
    traceparent: str | None


class Pair(NamedTuple):
    """The object with a key, the rows that reference the key, or both."""

    key: str
    found: StoredObject | None
    is_referenced: bool


def pair(stored: Iterable[StoredObject], *referenced: Iterable[str]) -> Iterator[Pair]:
    """Merge a bucket's listing with the keys that rows reference, all in the order of the keys' bytes, lazily."""
    objects = ((found.key, found) for found in stored)
    merged = heapq.merge(objects, *(((key, None) for key in keys) for keys in referenced), key=itemgetter(0))
    for key, same in groupby(merged, key=itemgetter(0)):
        both = [found for _, found in same]
        yield Pair(key, next(filter(None, both), None), None in both)


def _add_sizes(tx: Transaction, sizes: Mapping[str, int]) -> None:
    if sizes:
        tx.rows(_ADD_SIZES, tenants=list(sizes), bytes=list(sizes.values()))


class Drift:
    """A method's `before` leaves out rows that were deferred later than that: those that the tick has met already.

    Each row that a method finds is deferred by `grace` seconds.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def read_clock(self) -> datetime:
        """Return the database's time, which all of its times are based on."""
        with self._database.transaction() as tx:
            now: datetime = tx.rows(_SELECT_CLOCK)[0]["now"]
        return now

    def find_overdue(self, grace: float, before: datetime | None = None, batch: int = BATCH) -> list[Overdue]:
        """Find images that should be in progress but are not."""
        with self._database.transaction() as tx:
            rows = tx.rows(lifecycle.DEFER_OVERDUE, grace=grace, before=before, batch=batch)
        return [Overdue(**row) for row in rows]

    def find_unannounced(self, grace: float, before: datetime | None = None, batch: int = BATCH) -> list[UUID]:
        """Find images that ended more than `grace` seconds ago and whose end was not announced."""
        return self._find(lifecycle.DEFER_UNANNOUNCED, grace=grace, before=before, batch=batch)

    def find_pending_cleanup(self, grace: float, before: datetime | None = None, batch: int = BATCH) -> list[UUID]:
        """Find deleted images that nobody is working on and whose objects may still exist."""
        return self._find(lifecycle.DEFER_CLEANUP, grace=grace, before=before, batch=batch)

    def expire_reservations(self, skew: float = URL_SKEW_SECONDS) -> int:
        """Delete a batch of images whose upload URL expired more than `skew` seconds ago. Return how many."""
        return len(self._find(lifecycle.EXPIRE_RESERVATIONS, skew=skew, batch=BULK))

    def expire_originals(self, days: int, batch: int) -> list[str]:
        """Have images that failed and are older than so many days name no original any more. Return the keys."""
        with self._database.transaction() as tx:
            return [row["original_key"] for row in tx.rows(lifecycle.EXPIRE_ORIGINALS, days=days, batch=batch)]

    def purge(self, days: int, skew: float = URL_SKEW_SECONDS) -> int:
        """Delete a batch of images cleaned up more than so many days and `skew` seconds ago. Return how many."""
        with self._database.transaction() as tx:
            tx.rows(_DELETE_EXPIRED_REMOVALS)
        return len(self._find(lifecycle.PURGE_TOMBSTONES, days=days, skew=skew, batch=BULK))

    def list_original_keys(self, after: str = "") -> Iterator[str]:
        """Yield every key of an original that some image references, in the order of their bytes."""
        return self._list(_LIST_ORIGINAL_KEYS, after)

    def list_rendition_keys(self, after: str = "") -> Iterator[str]:
        """Yield every key of a rendition, in the order of their bytes."""
        return self._list(_LIST_RENDITION_KEYS, after)

    def list_delivery_keys(self, after: str = "") -> Iterator[str]:
        """Yield every key of a rendition that a URL asked for, in the order of their bytes."""
        return self._list(_LIST_DELIVERY_KEYS, after)

    def compare(self, stored: Iterable[StoredObject], after: str) -> Iterator[Pair]:
        """Pair the gallery's listing with the keys that rows reference, from the key `after` on."""
        referenced = self.list_original_keys(after), self.list_rendition_keys(after), self.list_delivery_keys(after)
        return pair(stored, *referenced)

    def is_referenced(self, key: str) -> bool:
        """Return whether a row references that key."""
        return self._exists(_IS_REFERENCED, key)

    def is_published(self, key: str) -> bool:
        """Return whether there should be an object with that key."""
        return self._exists(_IS_PUBLISHED, key)

    @contextmanager
    def lock(self, inbox: str) -> Iterator[bool]:
        """Yield whether nobody else reconciles that inbox while the block runs. A lost connection unlocks it, too."""
        with self._database.transaction(idle_seconds=LOCK_SECONDS) as tx:
            yield bool(tx.rows(_TRY_LOCK_INBOX, inbox=inbox)[0]["locked"])

    def begin_scan(self, bucket: str) -> None:
        """Begin at the start, unless a scan is under way."""
        with self._database.transaction() as tx:
            tx.rows(_BEGIN_SCAN, bucket=bucket)

    def read_position(self, bucket: str) -> str | None:
        """Return the last key that the bucket's scan handled, "" before the first, or None if no scan is under way."""
        with self._database.transaction() as tx:
            row = tx.row(_SELECT_POSITION, bucket=bucket)
        return bytes(row["position"]).decode() if row else None

    def advance_scan(self, bucket: str, position: str) -> None:
        with self._database.transaction() as tx:
            tx.rows(_ADVANCE_SCAN, bucket=bucket, position=position.encode())

    def advance_comparison(self, bucket: str, position: str, sizes: Mapping[str, int]) -> None:
        """Advance the gallery's scan, and add what it found since, in bytes by tenant."""
        with self._database.transaction() as tx:
            _add_sizes(tx, sizes)
            tx.rows(_ADVANCE_SCAN, bucket=bucket, position=position.encode())

    def end_comparison(self, bucket: str, sizes: Mapping[str, int]) -> None:
        """End the gallery's scan, and show what it found from now on."""
        with self._database.transaction() as tx:
            _add_sizes(tx, sizes)
            tx.rows(_SETTLE_SIZES)
            tx.rows(_END_SCAN, bucket=bucket)

    def _exists(self, sql: str, key: str) -> bool:
        with self._database.transaction() as tx:
            return tx.row(sql, key=key) is not None

    def _find(self, sql: str, **parameters: object) -> list[UUID]:
        with self._database.transaction() as tx:
            return [row["uuid"] for row in tx.rows(sql, **parameters)]

    def _list(self, sql: str, after: str) -> Iterator[str]:
        after = after.partition("\0")[0]  # text has no NUL, and the part before it sorts before the key
        while True:
            with self._database.transaction() as tx:
                keys = [row["key"] for row in tx.rows(sql, after=after, batch=BULK)]
            if not keys:
                return
            yield from keys
            after = keys[-1]
