"""Images that were fetched from foreign servers, by their URLs. One process at a time fetches a URL."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from shared_lib.database.connection import Database, Transaction

_FIND = """
    SELECT f.image_id AS image, f.etag, f.last_modified, f.failure, f.failure_code, f.fresh_until > now() AS is_fresh,
           f.used_at < now() - interval '1 day' AS is_long_unused,
           EXISTS (SELECT 1 FROM images i WHERE i.tenant_id = :tenant AND i.uuid = f.image_id AND i.deleted_at IS NULL
                   AND (i.status <> 'failed' OR f.fresh_until > now())) AS is_there
    FROM foreign_images f WHERE f.tenant_id = :tenant AND f.url = :url
"""
_CLAIM = """
    INSERT INTO foreign_images AS f (tenant_id, url, claim, claimable_at)
    VALUES (:tenant, :url, :claim, now() + make_interval(secs => :seconds))
    ON CONFLICT (tenant_id, url) DO UPDATE SET claim = excluded.claim, claimable_at = excluded.claimable_at
    WHERE f.claimable_at <= now()
    RETURNING claim
"""
_RECORD = """
    UPDATE foreign_images SET image_id = coalesce(:image, image_id), etag = :etag, last_modified = :last_modified,
        failure = :failure, failure_code = :failure_code,
        fresh_until = now() + make_interval(secs => :seconds), claim = NULL, claimable_at = now()
    WHERE tenant_id = :tenant AND url = :url AND claim = :claim RETURNING url
"""


_RELEASE = """
    UPDATE foreign_images SET claim = NULL, claimable_at = now()
    WHERE tenant_id = :tenant AND url = :url AND claim = :claim
"""
_TOUCH = "UPDATE foreign_images SET used_at = now() WHERE tenant_id = :tenant AND url = :url"
_UNUSED = """
    SELECT f.url, f.image_id FROM foreign_images f WHERE f.tenant_id = :tenant AND f.claimable_at <= now()
    AND f.used_at < now() - make_interval(days => :days) AND NOT EXISTS (
        SELECT FROM images i WHERE i.tenant_id = :tenant AND i.uuid = f.image_id AND i.collection_id IS NOT NULL)
    ORDER BY f.used_at LIMIT :batch FOR UPDATE SKIP LOCKED
"""
_FORGET = "DELETE FROM foreign_images WHERE tenant_id = :tenant AND url = ANY(CAST(:urls AS text[]))"


@dataclass(frozen=True, slots=True)
class ForeignImage:
    image: UUID | None
    etag: str | None
    last_modified: str | None
    failure: str | None
    """Why it could not be fetched lately."""
    failure_code: str | None
    is_fresh: bool
    is_there: bool
    """Its image was not deleted since. One that could not be processed is there while it is fresh."""
    is_long_unused: bool = False
    """Its last recorded use is so long ago that this one should be recorded."""


class ForeignImages:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, url: str) -> ForeignImage | None:
        with self._database.transaction() as tx:
            row = tx.row(_FIND, url=url)
        return ForeignImage(**row) if row else None

    def claim(self, url: str, seconds: float) -> UUID | None:
        """Claim the fetching of a URL for so long. Return None if another process has."""
        claim = uuid4()
        with self._database.transaction() as tx:
            return claim if tx.row(_CLAIM, url=url, claim=claim, seconds=seconds) else None

    def release(self, url: str, claim: UUID) -> None:
        """End a claim as if it had not been."""
        with self._database.transaction() as tx:
            tx.rows(_RELEASE, url=url, claim=claim)

    def touch(self, url: str) -> None:
        """Record a use."""
        with self._database.transaction(durable=False) as tx:  # if that is lost, the next use is recorded
            tx.last(_TOUCH, url=url)

    def expire(self, days: int, batch: int, delete: Callable[[Transaction, Sequence[UUID]], object]) -> int:
        """Forget a batch of URLs unused for so many days, and `delete` their images, but none in a collection.

        Return how many.
        """
        with self._database.transaction() as tx:
            unused = tx.rows(_UNUSED, days=days, batch=batch)
            delete(tx, [row["image_id"] for row in unused if row["image_id"]])
            tx.rows(_FORGET, urls=[row["url"] for row in unused])
        return len(unused)

    def record(self, url: str, claim: UUID, found: ForeignImage, seconds: float) -> bool:
        """End a claim, with what counts for so long. Return False if another process has taken over."""
        with self._database.transaction() as tx:
            row = tx.row(
                _RECORD,
                url=url,
                claim=claim,
                image=found.image,
                etag=found.etag,
                last_modified=found.last_modified,
                failure=found.failure,
                failure_code=found.failure_code,
                seconds=seconds,
            )
        return row is not None
