"""Images in and out of the database."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from shared_lib.database.connection import Database
from shared_lib.domain.images import VISIBLE, Image, ImageState, Page, PageQuery, SimilarImage, Status
from shared_lib.domain.uploads import StoredObject
from shared_lib.errors import FailureCode, NotFound
from shared_lib.observability import get_logger
from shared_lib.pipeline.recipe import Recipe
from shared_lib.repositories import rendition_requests
from shared_lib.repositories.attempts import Claim, take
from shared_lib.repositories.leases import hold
from shared_lib.repositories.pages import begin_snapshot, read_page
from shared_lib.repositories.rows import IMAGE_COLUMNS, PREVIEW_COLUMNS, VISIBLE_IMAGE, to_image
from shared_lib.repositories.similarity import find_alike
from shared_lib.settings import Processing

log = get_logger()

NOT_FOUND = "Image not found"

_INSERT = """
    INSERT INTO images (uuid, filename, description, status, size_bytes, due_at)
    VALUES (:uuid, :filename, :description, :status, :size, now() + make_interval(secs => :wait))
    ON CONFLICT (uuid) DO NOTHING RETURNING uuid
"""
_VISIBLE_ONE = f"SELECT {IMAGE_COLUMNS}{PREVIEW_COLUMNS} FROM images i WHERE i.uuid = :uuid AND {VISIBLE_IMAGE}"
# A replay of a failed image starts its count of attempts anew. Of a succeeded one the next claim decides: a worker that
# holds it now may still die of it.
_REQUEST = """
    UPDATE images SET
        filename = coalesce(:filename, filename),
        description = CASE WHEN :describe THEN :description ELSE description END,
        attempts = CASE WHEN status = 'failed' THEN 0 ELSE attempts END,
        completed_at = CASE WHEN status = 'failed' THEN NULL ELSE completed_at END,
        announced = announced AND status <> 'failed',
        failure_code = NULL, failure_message = NULL,
        due_at = CASE WHEN status IN ('awaiting_upload', 'failed') OR :ordered
                      THEN now() + make_interval(secs => :wait) ELSE due_at END,
        status = CASE WHEN status IN ('awaiting_upload', 'failed') THEN 'pending' ELSE status END
    WHERE uuid = :uuid AND deleted_at IS NULL RETURNING status
"""
# What is left is what keeps a late event or upload from bringing the image back, and the original's key until it is
# swept.
_DELETE = """
    UPDATE images SET deleted_at = now(), fence = fence + 1, swept_at = NULL, due_at = NULL, retry_at = NULL,
                      collection_id = NULL, filename = '', description = NULL, preview = NULL, preview_type = NULL,
                      content_type = NULL, size_bytes = NULL, width = NULL, height = NULL, sha256 = NULL,
                      knowledge = NULL, perceptual_hash = NULL, failure_code = NULL, failure_message = NULL
    WHERE uuid = :uuid AND deleted_at IS NULL RETURNING uuid
"""
_ERASE = (
    "DELETE FROM renditions WHERE image_id = :uuid",
    "DELETE FROM rendition_orders WHERE image_id = :uuid",
    "DELETE FROM processing_attempts WHERE image_id = :uuid",
    "DELETE FROM dead_letters WHERE image_id = :uuid",
)
_SWEPT = """
    UPDATE images SET swept_at = now(), original_key = NULL
    WHERE uuid = :uuid AND deleted_at IS NOT NULL AND (lease_until IS NULL OR lease_until < now())
"""
_ARRIVED = """
    UPDATE images SET status = 'pending', due_at = created_at WHERE uuid = ANY(ARRAY(
        SELECT uuid FROM images WHERE uuid = ANY(CAST(:uuids AS uuid[])) AND status = 'awaiting_upload'
        AND deleted_at IS NULL ORDER BY uuid FOR UPDATE SKIP LOCKED))
"""
_FAIL = """
    UPDATE images SET status = 'failed', failure_code = :code, failure_message = :message, completed_at = now(),
                      lease_until = NULL, due_at = NULL, announced = false, fence = fence + 1, original_key = NULL
    WHERE uuid = :uuid AND deleted_at IS NULL
    AND (status IN ('awaiting_upload', 'pending') OR (status = 'processing' AND lease_until < now()))
    RETURNING uuid
"""


_AWAITED = "SELECT 1 FROM images WHERE uuid = :uuid AND status = 'awaiting_upload' AND deleted_at IS NULL"


class Images:
    def __init__(self, database: Database, settings: Processing) -> None:
        self._database = database
        self._settings = settings

    def count_all(self) -> int:
        """How many images callers can see; none where there is no table yet."""
        with self._database.transaction() as tx:
            if tx.rows("SELECT to_regclass('images') AS name")[0]["name"] is None:
                return 0
            total: int = tx.rows(f"SELECT count(*) AS total FROM images i WHERE {VISIBLE_IMAGE}")[0]["total"]
        return total

    def create(
        self, uuid: UUID, filename: str, description: str | None, size: int, recipes: Sequence[Recipe] = ()
    ) -> None:
        """Write the row of an image whose object is about to lie in the inbox; changes nothing if there is one."""
        self._insert(
            recipes,
            uuid=uuid,
            filename=filename,
            description=description,
            status=Status.PENDING.value,
            size=size,
            wait=self._settings.pending_grace_seconds,
        )

    def await_upload(self, uuid: UUID, filename: str, description: str | None = None) -> None:
        """Write the row of an upload to come, before its URL is given away; hidden until the object is there."""
        self._insert(
            (),
            uuid=uuid,
            filename=filename,
            description=description,
            status=Status.AWAITING_UPLOAD.value,
            size=None,
            wait=self._settings.upload_url_seconds,
        )

    def adopt(self, found: StoredObject) -> None:
        """Make sure that an object in the inbox has a row. Changes nothing when it has one, deleted ones included."""
        self.create(found.image, found.filename, None, found.size)

    def _insert(self, recipes: Sequence[Recipe], *, uuid: UUID, **columns: object) -> None:
        with self._database.transaction() as tx:
            if tx.row(_INSERT, uuid=uuid, **columns):
                rendition_requests.place(tx, uuid, recipes)

    def forget(self, uuid: UUID) -> None:
        """Take back the row of an adopted object that was gone before it could be taken over."""
        with self._database.transaction() as tx:
            tx.rows(
                """DELETE FROM images WHERE uuid = :uuid AND status = 'pending' AND attempts = 0
                   AND deleted_at IS NULL""",
                uuid=uuid,
            )

    def get(self, uuid: UUID) -> Image:
        """Raises NotFound, also, with a code of its own, for an image that awaits its upload."""
        with self._database.transaction() as tx:
            row = tx.row(_VISIBLE_ONE, uuid=uuid)
            awaited = row is None and tx.row(_AWAITED, uuid=uuid) is not None
        if awaited:
            raise NotFound(NOT_FOUND, code="image_awaits_upload", retry_after=2)
        if row is None:
            raise NotFound(NOT_FOUND, code="image_not_found")
        return to_image(row)

    def get_state(self, uuid: UUID) -> ImageState | None:
        """What is known of an image, hidden and deleted ones included; None when it never was."""
        return self.get_states([uuid]).get(uuid)

    def get_states(self, uuids: Sequence[UUID]) -> dict[UUID, ImageState]:
        """The same of many at once; those that never were are left out."""
        with self._database.transaction() as tx:
            rows = tx.rows(
                """SELECT uuid, status, deleted_at IS NOT NULL AS deleted, original_key, announced,
                          failure_code AS failure, completed_at AS ended_at,
                          coalesce(lease_until > now(), false) AS held
                   FROM images WHERE uuid = ANY(CAST(:uuids AS uuid[]))""",
                uuids=list(uuids),
            )
        return {row.pop("uuid"): _to_state(row) for row in rows}

    def find_similar(self, uuid: UUID, distance: int, limit: int) -> list[SimilarImage]:
        """Images whose perceptual hash differs in at most `distance` bits, the likest first. Raises NotFound."""
        with self._database.transaction() as tx:
            rows = find_alike(tx, uuid, distance, limit)
        if rows is None:
            raise NotFound(NOT_FOUND, code="image_not_found")
        return [SimilarImage(to_image(row), row["distance"]) for row in rows]

    def page(self, query: PageQuery, *, statuses: Iterable[Status] = VISIBLE, previews: bool = True) -> Page[Image]:
        """Return one page of the visible images that match."""
        with self._database.transaction() as tx:
            begin_snapshot(tx)
            rows, total = read_page(tx, query, tuple(statuses), previews=previews)
        return Page([to_image(row) for row in rows], total)

    def request(
        self,
        uuid: UUID,
        filename: str | None,
        description: str | None,
        recipes: Sequence[Recipe] = (),
        *,
        describe: bool,
    ) -> bool:
        """
        Name the image, order renditions and, if it waited for its upload or had failed, put it on its way (again).

        Answers whether it now waits for a processor. Raises Conflict when it would have too many renditions.
        """
        with self._database.transaction() as tx:
            if tx.row("SELECT 1 FROM images WHERE uuid = :uuid AND deleted_at IS NULL FOR UPDATE", uuid=uuid) is None:
                return False
            ordered = rendition_requests.place(tx, uuid, recipes)
            row = tx.row(
                _REQUEST,
                uuid=uuid,
                filename=filename,
                description=description,
                describe=describe,
                ordered=ordered,
                wait=self._settings.pending_grace_seconds,
            )
        return ordered or (row is not None and row["status"] == Status.PENDING)

    def delete(self, uuid: UUID) -> None:
        """
        Make the image gone for every caller from now on, also while it awaits its upload, and erase what it told.

        Raises NotFound.
        """
        with self._database.transaction() as tx:
            if tx.row(_DELETE, uuid=uuid) is None:
                raise NotFound(NOT_FOUND, code="image_not_found")
            for statement in _ERASE:
                tx.rows(statement, uuid=uuid)

    def mark_swept(self, uuid: UUID) -> None:
        """Note that a deleted image's objects are gone, unless someone may still be writing them."""
        with self._database.transaction() as tx:
            tx.rows(_SWEPT, uuid=uuid)

    def mark_arrived(self, uuids: Iterable[UUID]) -> None:
        """Put images that awaited their upload on their way: it is there."""
        with self._database.transaction() as tx:
            tx.rows(_ARRIVED, uuids=list(uuids))

    def fail(self, uuid: UUID, code: FailureCode, message: str) -> bool:
        """End an image that has not ended and that nobody is working on. False when there was nothing to end."""
        with self._database.transaction() as tx:
            row = tx.row(_FAIL, uuid=uuid, code=code.value, message=message)
        if row:
            log.warning("image_failed", image=str(uuid), code=code.value, reason=message)
        return row is not None

    def mark_announced(self, image: Image) -> None:
        """Note that this end of the image was told; one that it came to meanwhile was not."""
        with self._database.transaction() as tx:
            tx.rows(
                "UPDATE images SET announced = true WHERE uuid = :uuid AND completed_at = :ended",
                uuid=image.uuid,
                ended=image.completed_at,
            )

    @contextmanager
    def claim(self, uuid: UUID) -> Iterator[Claim | None]:
        """
        Hold the sole right to process an image while the block runs, its lease renewed in the background.

        Yields None if the image has ended or is gone; raises Conflict while someone else holds it. A block that
        raises lets go at once, and a worker that died loses its lease by itself.
        """
        claim = take(self._database, uuid, self._settings)
        if claim is None:
            yield None
        else:
            with hold(claim):
                yield claim


def _to_state(row: dict[str, Any]) -> ImageState:
    failure = row["failure"] and FailureCode(row["failure"])
    return ImageState(**row | {"status": Status(row["status"]), "failure": failure})
