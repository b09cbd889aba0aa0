"""Read images."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from shared_lib.database.connection import Database
from shared_lib.domain.images import VISIBLE, Image, ImageEnd, ImageNotFound, ImageState, ImageStatus, SimilarImage
from shared_lib.domain.operations import Attempt
from shared_lib.domain.pages import Page, PageQuery
from shared_lib.errors import FailureCode
from shared_lib.repositories.pages import read_page
from shared_lib.repositories.rows import (
    END_COLUMNS,
    IMAGE_COLUMNS,
    OF_TENANT,
    RENDITIONS,
    THUMBNAIL_COLUMNS,
    VISIBLE_IMAGE,
    to_end,
    to_image,
)
from shared_lib.repositories.similarity import select_similar

_SELECT_IMAGE = (
    f"SELECT {IMAGE_COLUMNS}{THUMBNAIL_COLUMNS} FROM images i"
    " WHERE i.uuid = :uuid AND i.tenant_id = :tenant AND i.deleted_at IS NULL"
)
"""Also one that awaits its upload: a second statement would be of another moment, and might find neither."""
_SELECT_THESE = f"""
    SELECT {IMAGE_COLUMNS}{{thumbnails}} FROM images i
    WHERE i.uuid = ANY(CAST(:uuids AS uuid[])) AND {VISIBLE_IMAGE}
"""
_SELECT_EQUAL = f"""
    SELECT DISTINCT ON (i.sha256) {IMAGE_COLUMNS}{{thumbnails}} FROM images i
    WHERE i.sha256 = ANY(CAST(:digests AS text[])) AND i.status = ANY(CAST(:statuses AS text[])) AND {VISIBLE_IMAGE}
    ORDER BY i.sha256, i.created_at DESC
"""
_SELECT_END = f"""
    SELECT {END_COLUMNS}, {RENDITIONS} FROM images i
    WHERE uuid = :uuid AND status IN ('succeeded', 'failed') AND deleted_at IS NULL
"""
_SELECT_STATES = f"""
    SELECT uuid, tenant_id AS tenant, status, deleted_at IS NOT NULL AS deleted, original_key,
           NOT EXISTS (SELECT 1 FROM outbox WHERE image_id = uuid) AS announced,
           failure_code AS failure, completed_at AS ended_at, coalesce(lease_until > now(), false) AS held,
           (SELECT upload_id FROM multipart_uploads WHERE image_id = uuid) AS upload_id
    FROM images WHERE uuid = ANY(CAST(:uuids AS uuid[])) AND {OF_TENANT}
"""
_IS_VISIBLE = f"SELECT 1 FROM images i WHERE i.uuid = :uuid AND {VISIBLE_IMAGE}"
_LIST_ATTEMPTS = """
    SELECT fence AS number, started_at, ended_at, outcome, reason FROM processing_attempts
    WHERE tenant_id = :tenant AND image_id = :uuid ORDER BY fence DESC LIMIT :limit
"""
_HAS_TABLE = "SELECT to_regclass('images') IS NOT NULL AS there"
_COUNT = "SELECT count(*) AS total FROM images WHERE deleted_at IS NULL AND status <> 'awaiting_upload'"


class ImageQueries:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, uuid: UUID) -> Image:
        """Return a visible image. Raises NotFound, with a code of its own if the image awaits its upload."""
        with self._database.transaction() as tx:
            rows = tx.last(_SELECT_IMAGE, uuid=uuid)
        if not rows:
            raise ImageNotFound
        [row] = rows
        if row["status"] == ImageStatus.AWAITING_UPLOAD:
            raise ImageNotFound(code="image_awaits_upload", retry_after=2)
        return to_image(row)

    def find(self, uuids: Sequence[UUID], *, thumbnails: bool) -> list[Image]:
        """Return the visible ones of these images, in the order of `uuids`."""
        columns = THUMBNAIL_COLUMNS if thumbnails else ""
        with self._database.transaction() as tx:
            rows = tx.last(_SELECT_THESE.format(thumbnails=columns), uuids=list(uuids))
        found = {row["uuid"]: row for row in rows}
        return [to_image(found[uuid]) for uuid in dict.fromkeys(uuids) if uuid in found]

    def find_equal(self, digests: Sequence[str], statuses: Iterable[ImageStatus], *, thumbnails: bool) -> list[Image]:
        """Return the newest visible image of each SHA-256 in hex that an original has."""
        sql = _SELECT_EQUAL.format(thumbnails=THUMBNAIL_COLUMNS if thumbnails else "")
        with self._database.transaction() as tx:
            rows = tx.last(sql, digests=list(digests), statuses=[*statuses])
        return [to_image(row) for row in rows]

    def list_attempts(self, uuid: UUID, limit: int) -> list[Attempt]:
        """Return the last attempts at a visible image, newest first. Raises NotFound."""
        with self._database.transaction() as tx:
            found = tx.queue(_IS_VISIBLE, uuid=uuid)
            rows = tx.last(_LIST_ATTEMPTS, uuid=uuid, limit=limit)
        if not found:
            raise ImageNotFound
        return [Attempt(**row) for row in rows]

    def get_end(self, uuid: UUID) -> ImageEnd | None:
        """Return how an image ended, or None if it has not ended or is gone."""
        with self._database.transaction() as tx:
            rows = tx.last(_SELECT_END, uuid=uuid)
        return to_end(rows[0], rows[0]["renditions"] or ()) if rows else None

    def page(
        self, query: PageQuery, *, statuses: Iterable[ImageStatus] = VISIBLE, thumbnails: bool = True
    ) -> Page[Image]:
        """Return one page of the visible images that match."""
        with self._database.transaction(snapshot=True) as tx:
            page = read_page(tx, query, tuple(statuses), thumbnails=thumbnails)
        return page.map(to_image)

    def find_similar(self, uuid: UUID, distance: int, limit: int) -> list[SimilarImage]:
        """Return images whose perceptual hashes differ in at most `distance` bits, closest first. Raises NotFound."""
        with self._database.transaction() as tx:
            rows = select_similar(tx, uuid, distance, limit)
        if rows is None:
            raise ImageNotFound
        return [SimilarImage(to_image(row), row["distance"]) for row in rows]

    def get_state(self, uuid: UUID) -> ImageState | None:
        """Return the state of an image, hidden and deleted ones included, or None if there never was one."""
        return self.get_states([uuid]).get(uuid)

    def get_states(self, uuids: Sequence[UUID]) -> dict[UUID, ImageState]:
        """Return the states of many images at once, without those that never were."""
        with self._database.transaction() as tx:
            rows = tx.last(_SELECT_STATES, uuids=list(uuids))
        return {row.pop("uuid"): _to_state(row) for row in rows}

    def count(self) -> int:
        """Return how many images are visible to any tenant; 0 before the tables are created."""
        with self._database.transaction() as tx:
            if not tx.rows(_HAS_TABLE)[0]["there"]:
                return 0
            total: int = tx.rows(_COUNT)[0]["total"]
        return total


def _to_state(row: dict[str, Any]) -> ImageState:
    failure = row["failure"] and FailureCode.read(row["failure"])
    return ImageState(**row | {"status": ImageStatus(row["status"]), "failure": failure})
