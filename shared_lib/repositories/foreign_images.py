"""Images that were fetched from foreign servers, by their URLs. One process at a time fetches a URL."""

from dataclasses import dataclass
from uuid import UUID, uuid4

from shared_lib.database.connection import Database

_FIND = """
    SELECT f.image_id AS image, f.etag, f.last_modified, f.failure, f.fresh_until > now() AS is_fresh,
           EXISTS (SELECT 1 FROM images i WHERE i.tenant_id = :tenant AND i.uuid = f.image_id AND i.deleted_at IS NULL
                   AND i.status <> 'failed') AS is_there
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
        failure = :failure, fresh_until = now() + make_interval(secs => :seconds), claim = NULL, claimable_at = now()
    WHERE tenant_id = :tenant AND url = :url AND claim = :claim RETURNING url
"""


@dataclass(frozen=True, slots=True)
class ForeignImage:
    image: UUID | None
    etag: str | None
    last_modified: str | None
    failure: str | None
    """Why it could not be fetched lately."""
    is_fresh: bool
    is_there: bool
    """Its image was neither deleted since nor impossible to process."""


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
                seconds=seconds,
            )
        return row is not None
