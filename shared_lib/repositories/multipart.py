"""Multipart uploads that were begun. A row lives until its upload is complete, aborted or expired."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from shared_lib import tracing
from shared_lib.database.connection import Database
from shared_lib.domain.images import ImageNotFound, ImageStatus
from shared_lib.domain.multipart import MultipartUpload
from shared_lib.errors import Conflict
from shared_lib.repositories import lifecycle, stocks
from shared_lib.repositories.audit import current_caller
from shared_lib.repositories.rows import LOCK_IMAGE
from shared_lib.settings import Quotas

FORGET = "DELETE FROM multipart_uploads WHERE image_id = :uuid"
_INSERT = """
    INSERT INTO multipart_uploads (tenant_id, image_id, key, upload_id, size_bytes, part_bytes)
    VALUES (:tenant, :uuid, :key, :upload_id, :size, :part_size)
"""
# The last release wrote no key: it was the uuid.
_SELECT = """
    SELECT i.status, i.due_at AS expires_at, coalesce(m.key, CAST(i.uuid AS text)) AS key, m.upload_id,
           m.size_bytes AS size, m.part_bytes AS part_size
    FROM images i LEFT JOIN multipart_uploads m ON m.image_id = i.uuid
    WHERE i.tenant_id = :tenant AND i.uuid = :uuid AND i.deleted_at IS NULL
"""
# A process may die between the completion in the store and `complete`.
_FORGET_COMPLETED = """
    DELETE FROM multipart_uploads m USING images i
    WHERE i.uuid = m.image_id AND i.status <> 'awaiting_upload' AND i.deleted_at IS NULL
"""
_SELECT_AWAITED = """
    SELECT m.upload_id, m.tenant_id AS tenant, m.image_id AS uuid, m.key,
           m.size_bytes AS size, m.part_bytes AS part_size, i.due_at AS expires_at
    FROM multipart_uploads m JOIN images i ON i.uuid = m.image_id
    WHERE m.upload_id = ANY(CAST(:upload_ids AS text[])) AND i.status = 'awaiting_upload' AND i.deleted_at IS NULL
"""


class Awaited(NamedTuple):
    tenant: str
    upload: MultipartUpload


def _to_awaited(row: dict[str, Any]) -> Awaited:
    columns = {name: value for name, value in row.items() if name != "tenant"}
    return Awaited(row["tenant"], MultipartUpload(**columns | {"key": row["key"] or f"{row['uuid']}"}))


class MultipartUploads:
    def __init__(self, database: Database, quotas: Quotas) -> None:
        self._database = database
        self._quotas = quotas

    def create(self, upload: MultipartUpload, filename: str, description: str | None, seconds: int) -> None:
        """Insert an image that awaits the upload for so many seconds. It stays hidden until it is complete.

        Raises Forbidden if a quota is used up.
        """
        with self._database.transaction() as tx:
            stocks.lock(tx, self._quotas)
            tx.rows(
                lifecycle.INSERT_IMAGE,
                uuid=upload.uuid,
                filename=filename,
                description=description,
                status=ImageStatus.AWAITING_UPLOAD.value,
                size=None,
                reserved=upload.size,
                wait=seconds,
                trace=tracing.current(),
                by=current_caller(),
            )
            stocks.check(tx, self._quotas)
            tx.rows(
                _INSERT,
                uuid=upload.uuid,
                key=upload.key,
                upload_id=upload.upload_id,
                size=upload.size,
                part_size=upload.part_size,
            )

    def find(self, uuid: UUID) -> MultipartUpload | ImageStatus:
        """Return an image's upload, or the image's status if its upload is complete.

        Raises NotFound, and Conflict if the image awaits an upload that is not in parts.
        """
        with self._database.transaction() as tx:
            row = tx.row(_SELECT, uuid=uuid)
        if row is None:
            raise ImageNotFound
        status = ImageStatus(row.pop("status"))
        if status is not ImageStatus.AWAITING_UPLOAD:
            return status
        if row["upload_id"] is None:
            raise Conflict("This image awaits a single PUT, and no parts", code="not_in_parts")
        return MultipartUpload(uuid=uuid, **row)

    def complete(self, uuid: UUID) -> None:
        """Make the image pending, unless it is processed already, and forget its parts. Raises NotFound."""
        with self._database.transaction() as tx:
            if tx.row(LOCK_IMAGE, uuid=uuid) is None:
                raise ImageNotFound  # it was deleted meanwhile
            tx.rows(lifecycle.MARK_ARRIVED, uuids=[uuid])
            tx.rows(FORGET, uuid=uuid)

    def find_awaited(self, upload_ids: Sequence[str]) -> dict[str, Awaited]:
        """Return those of the store's uploads that some image still awaits, by their IDs."""
        with self._database.transaction() as tx:
            rows = tx.rows(_SELECT_AWAITED, upload_ids=list(upload_ids))
        return {row["upload_id"]: _to_awaited(row) for row in rows}

    def count_bytes(self, uuid: UUID, stored: int) -> None:
        """Have an awaited upload count as what the store has of it, if that is more than was announced."""
        with self._database.transaction() as tx:
            tx.rows(lifecycle.COUNT_STORED_BYTES, uuid=uuid, stored=stored)

    def forget_completed(self) -> None:
        """Forget the parts of images that do not await them any more. There are few at any time."""
        with self._database.transaction() as tx:
            tx.rows(_FORGET_COMPLETED)
