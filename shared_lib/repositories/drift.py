"""What reconciliation looks for: rows that wait for something that should have come, and how far its scans have got.

Rows come in batches, the longest waiting first, and the statement that finds them puts them off. So the next batch or
tick meets others first, and one that cannot be handled, or kills its sweeper, holds up nobody.
"""

import heapq
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from shared_lib.database.connection import Database
from shared_lib.domain.uploads import StoredObject

BATCH = 100
"""Rows found at once: few enough that a tick, before its time is up, handles most of what it has put off."""
BULK = 500
"""Rows that are changed or read at once where nothing else is done with each, well within a statement's time."""

_OVERDUE = """
    UPDATE images SET due_at = now() + make_interval(secs => :grace) WHERE uuid = ANY(ARRAY(
        SELECT uuid FROM images
        WHERE deleted_at IS NULL AND (
            (status IN ('pending', 'succeeded') AND lease_until IS NULL AND due_at < coalesce(:before, now()))
            OR (lease_until < now() AND coalesce(due_at < :before, due_at <= now(), true)))
        ORDER BY due_at NULLS FIRST LIMIT :batch FOR UPDATE SKIP LOCKED))
    RETURNING uuid, created_at, status = 'succeeded' AS published
"""
_FORGET_UPLOADS = """
    DELETE FROM images WHERE uuid = ANY(ARRAY(
        SELECT uuid FROM images WHERE deleted_at IS NULL AND status = 'awaiting_upload'
        AND due_at < now() - make_interval(secs => :skew) ORDER BY due_at LIMIT :batch FOR UPDATE SKIP LOCKED))
    RETURNING uuid
"""
_PUT_OFF = """
    UPDATE images SET retry_at = now() + make_interval(secs => :grace) WHERE uuid = ANY(ARRAY(
        SELECT uuid FROM images WHERE {condition} AND (retry_at IS NULL OR retry_at < coalesce(:before, now()))
        ORDER BY retry_at NULLS FIRST LIMIT :batch FOR UPDATE SKIP LOCKED))
    RETURNING uuid
"""
_UNANNOUNCED = _PUT_OFF.format(
    condition="""deleted_at IS NULL AND status IN ('succeeded', 'failed') AND NOT announced
        AND completed_at < now() - make_interval(secs => :grace)"""
)
_UNSWEPT = _PUT_OFF.format(
    condition="deleted_at IS NOT NULL AND swept_at IS NULL AND (lease_until IS NULL OR lease_until < now())"
)
_PURGE = """
    DELETE FROM images WHERE uuid = ANY(ARRAY(
        SELECT uuid FROM images WHERE deleted_at IS NOT NULL
        AND swept_at < now() - make_interval(days => :days, secs => :skew)
        ORDER BY swept_at LIMIT :batch FOR UPDATE SKIP LOCKED))
    RETURNING uuid
"""
_PURGE_REMOVALS = "DELETE FROM original_removals WHERE ends_at < now()"
_ORIGINALS = """
    SELECT DISTINCT original_key AS key FROM images
    WHERE deleted_at IS NULL AND original_key > :after ORDER BY original_key LIMIT :batch
"""
_RENDITIONS = "SELECT DISTINCT key FROM renditions WHERE key > :after ORDER BY key LIMIT :batch"
_PUBLISHED = """
    SELECT 1 FROM images WHERE original_key = :key AND deleted_at IS NULL AND status = 'succeeded'
    UNION ALL SELECT 1 FROM renditions WHERE key = :key LIMIT 1
"""
_NAMED = """
    SELECT 1 FROM images WHERE original_key = :key AND deleted_at IS NULL
    UNION ALL SELECT 1 FROM renditions WHERE key = :key LIMIT 1
"""
_BEGIN_SCAN = "INSERT INTO scans (bucket, position) VALUES (:bucket, '') ON CONFLICT (bucket) DO NOTHING"
_SCAN = "SELECT position FROM scans WHERE bucket = :bucket"
_ADVANCE = """
    INSERT INTO scans (bucket, position) VALUES (:bucket, :position)
    ON CONFLICT (bucket) DO UPDATE SET position = excluded.position
"""


class Overdue(NamedTuple):
    uuid: UUID
    created_at: datetime
    published: bool
    """It is further renditions that it waits for."""


_TAKE_TURN = "SELECT pg_try_advisory_xact_lock(hashtextextended(:inbox, 7226033)) AS mine"


class Pair(NamedTuple):
    """What there is of a key: an object, rows that name it, or both."""

    key: str
    found: StoredObject | None
    is_named: bool


def line_up(stored: Iterable[StoredObject], *named: Iterable[str]) -> Iterator[Pair]:
    """Merge a bucket's listing with what rows name, all in the order of the keys' bytes, without holding any of it."""
    objects = ((found.key, found) for found in stored)
    merged = heapq.merge(objects, *(((key, None) for key in keys) for keys in named), key=itemgetter(0))
    for key, same in groupby(merged, key=itemgetter(0)):
        both = [found for _, found in same]
        yield Pair(key, next(filter(None, both), None), None in both)


class Drift:
    """Where a method takes `before`, it leaves out what was put off later than that: what a tick has met already."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read_clock(self) -> datetime:
        """The database's, which all of its times are of."""
        with self._database.transaction() as tx:
            now: datetime = tx.rows("SELECT now() AS now")[0]["now"]
        return now

    def find_overdue(self, grace: float, before: datetime | None = None, batch: int = BATCH) -> list[Overdue]:
        """Images that should be on their way but are not; each is put off by `grace` s."""
        with self._database.transaction() as tx:
            return [Overdue(**row) for row in tx.rows(_OVERDUE, grace=grace, before=before, batch=batch)]

    def find_unannounced(self, grace: float, before: datetime | None = None, batch: int = BATCH) -> list[UUID]:
        """Images that ended more than `grace` s ago and whose end was not told; each is put off by as long."""
        return self._find(_UNANNOUNCED, grace=grace, before=before, batch=batch)

    def find_unswept(self, grace: float, before: datetime | None = None, batch: int = BATCH) -> list[UUID]:
        """
        Deleted images whose objects may still be there, and which nobody is working on.

        Each is put off by `grace` s.
        """
        return self._find(_UNSWEPT, grace=grace, before=before, batch=batch)

    def forget_uploads(self, skew: float) -> int:
        """Remove images whose upload URL ran out more than `skew` s ago; answers how many, 0 when none is left."""
        return len(self._find(_FORGET_UPLOADS, skew=skew, batch=BULK))

    def purge(self, days: int, skew: float) -> int:
        """Forget images deleted more than so many days and `skew` s ago; answers how many, 0 when none is left."""
        with self._database.transaction() as tx:
            tx.rows(_PURGE_REMOVALS)
        return len(self._find(_PURGE, days=days, skew=skew, batch=BULK))

    def walk_originals(self, after: str = "") -> Iterator[str]:
        """Every key of an original that some image names, in the order of their bytes."""
        return self._walk(_ORIGINALS, after)

    def walk_renditions(self, after: str = "") -> Iterator[str]:
        """Every key of a rendition, in the order of their bytes."""
        return self._walk(_RENDITIONS, after)

    def line_up(self, stored: Iterable[StoredObject], after: str) -> Iterator[Pair]:
        """What lies in the gallery beside what rows name, from the key `after` on."""
        return line_up(stored, self.walk_originals(after), self.walk_renditions(after))

    def names(self, key: str) -> bool:
        """Whether a row still names that key."""
        return self._exists(_NAMED, key)

    def publishes(self, key: str) -> bool:
        """Whether a row still says that there is an object under that key."""
        return self._exists(_PUBLISHED, key)

    @contextmanager
    def take_turn(self, inbox: str) -> Iterator[bool]:
        """Whether nobody else reconciles that inbox while the block runs. A turn ends with its connection, too."""
        with self._database.transaction() as tx:
            yield bool(tx.rows(_TAKE_TURN, inbox=inbox)[0]["mine"])

    def begin_scan(self, bucket: str) -> None:
        """From the start, unless one is under way."""
        with self._database.transaction() as tx:
            tx.rows(_BEGIN_SCAN, bucket=bucket)

    def read_position(self, bucket: str) -> str | None:
        """The last key that the bucket's scan has dealt with, "" before the first; None when none is under way."""
        with self._database.transaction() as tx:
            row = tx.row(_SCAN, bucket=bucket)
        return bytes(row["position"]).decode() if row else None

    def advance_scan(self, bucket: str, position: str) -> None:
        with self._database.transaction() as tx:
            tx.rows(_ADVANCE, bucket=bucket, position=position.encode())

    def end_scan(self, bucket: str) -> None:
        with self._database.transaction() as tx:
            tx.rows("DELETE FROM scans WHERE bucket = :bucket", bucket=bucket)

    def _exists(self, sql: str, key: str) -> bool:
        with self._database.transaction() as tx:
            return tx.row(sql, key=key) is not None

    def _find(self, sql: str, **parameters: object) -> list[UUID]:
        with self._database.transaction() as tx:
            return [row["uuid"] for row in tx.rows(sql, **parameters)]

    def _walk(self, sql: str, after: str) -> Iterator[str]:
        after = after.partition("\0")[0]  # text has no NUL; what comes before it is before the key, too
        while True:
            with self._database.transaction() as tx:
                keys = [row["key"] for row in tx.rows(sql, after=after, batch=BULK)]
            if not keys:
                return
            yield from keys
            after = keys[-1]
