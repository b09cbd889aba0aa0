"""What reconciliation looks for: rows that wait for something that should have come."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared_lib.database import Database

BATCH = 500  # rows a step looks at in one tick

# Put off by the same statement: a second sweeper, or the next tick, does not ask for the same images again at once.
_OVERDUE = """
    UPDATE images SET due_at = now() + make_interval(secs => :grace)
    WHERE uuid IN (
        SELECT uuid FROM images
        WHERE deleted_at IS NULL AND ((status IN ('pending', 'succeeded') AND lease_until IS NULL AND due_at < now())
              OR (lease_until < now() AND coalesce(due_at, now()) <= now()))
        ORDER BY due_at NULLS FIRST LIMIT :batch FOR UPDATE SKIP LOCKED)
    RETURNING uuid, created_at, status = 'succeeded' AS published
"""
_EXPIRED = """
    SELECT uuid FROM images WHERE deleted_at IS NULL AND status = 'awaiting_upload'
    AND due_at < now() - make_interval(secs => :skew) ORDER BY due_at LIMIT :batch
"""
_FORGET = "DELETE FROM images WHERE uuid = :uuid AND status = 'awaiting_upload' RETURNING uuid"
_UNANNOUNCED = """
    SELECT uuid FROM images WHERE deleted_at IS NULL AND status IN ('succeeded', 'failed') AND NOT announced
    AND completed_at < now() - make_interval(secs => :grace) ORDER BY completed_at LIMIT :batch
"""
_UNSWEPT = """
    SELECT uuid FROM images WHERE deleted_at IS NOT NULL AND swept_at IS NULL
    AND (lease_until IS NULL OR lease_until < now()) ORDER BY deleted_at LIMIT :batch
"""
_PURGE = """
    DELETE FROM images WHERE swept_at < now() - make_interval(days => :days) AND deleted_at IS NOT NULL RETURNING uuid
"""
_KEYS = """
    SELECT original_key AS key, status = 'succeeded' AS published FROM images
    WHERE deleted_at IS NULL AND original_key IS NOT NULL
    UNION ALL SELECT key, true FROM renditions
"""


class Overdue(NamedTuple):
    uuid: UUID
    created_at: datetime
    published: bool
    """It is further renditions that it waits for."""


class Drift:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find_overdue(self, grace: float) -> list[Overdue]:
        """Images that should be on their way but are not; each is put off by `grace` s."""
        with self._database.transaction() as tx:
            return [Overdue(**row) for row in tx.rows(_OVERDUE, grace=grace, batch=BATCH)]

    def find_expired_uploads(self, skew: float) -> Iterable[UUID]:
        """Images whose upload URL ran out more than `skew` s ago."""
        return self._find(_EXPIRED, skew=skew, batch=BATCH)

    def forget_upload(self, uuid: UUID) -> bool:
        return bool(self._find(_FORGET, uuid=uuid))

    def find_unannounced(self, grace: float) -> Iterable[UUID]:
        """Images that ended more than `grace` s ago and whose end was not told."""
        return self._find(_UNANNOUNCED, grace=grace, batch=BATCH)

    def find_unswept(self) -> Iterable[UUID]:
        """Deleted images whose objects may still be there, and which nobody is working on."""
        return self._find(_UNSWEPT, batch=BATCH)

    def purge(self, days: int) -> int:
        """Forget deleted images after that many days; answers how many."""
        return len(self._find(_PURGE, days=days))

    def list_keys(self) -> set[str]:
        """Every key in the gallery that some row names."""
        with self._database.transaction() as tx:
            return {row["key"] for row in tx.rows(_KEYS)}

    def names(self, key: str) -> bool:
        """Whether a row still names that key."""
        return self._find_key(key, "true")

    def publishes(self, key: str) -> bool:
        """Whether a row still says that there is an object under that key."""
        return self._find_key(key, "published")

    def _find_key(self, key: str, condition: str) -> bool:
        with self._database.transaction() as tx:
            sql = f"SELECT 1 FROM ({_KEYS}) AS named WHERE key = :key AND {condition}"
            return tx.row(sql, key=key) is not None

    def _find(self, sql: str, **parameters: object) -> list[UUID]:
        with self._database.transaction() as tx:
            return [row["uuid"] for row in tx.rows(sql, **parameters)]
