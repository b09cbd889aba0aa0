"""Data that is stored about an image or a caller, and the receipts of erasures."""

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from shared_lib.database.connection import Database, Transaction
from shared_lib.domain.audit import Action
from shared_lib.domain.images import ImageNotFound
from shared_lib.domain.privacy import CallerHoldings, HeldObject, ImageHoldings, Receipt, ReceiptNotFound
from shared_lib.repositories import audit
from shared_lib.repositories.rows import OF_TENANT
from shared_lib.repositories.watermarks import OBJECTS

_TABLES = (
    "renditions",
    "rendition_requests",
    "deliveries",
    "processing_attempts",
    "dead_letters",
    "foreign_images",
    "watermarks",
)
# Images that await their upload are hidden, but something is stored about them.
_SELECT_IMAGE = """
    SELECT filename, description, metadata, thumbnail IS NOT NULL AS thumbnail, perceptual_hash IS NOT NULL AS likeness,
           original_key, size_bytes, sha256, EXISTS (
               SELECT FROM images other WHERE other.tenant_id = i.tenant_id AND other.original_key = i.original_key
               AND other.uuid <> i.uuid AND other.deleted_at IS NULL) AS shared
    FROM images i WHERE tenant_id = :tenant AND uuid = :uuid AND deleted_at IS NULL
"""
_LIST_OBJECTS = f"""
    SELECT key, size_bytes FROM renditions WHERE tenant_id = :tenant AND image_id = :uuid AND key IS NOT NULL
    UNION SELECT key, size_bytes FROM deliveries WHERE tenant_id = :tenant AND image_id = :uuid AND key IS NOT NULL
    UNION ({OBJECTS}) ORDER BY key
"""
_COUNT_ROWS = " UNION ALL ".join(
    f"SELECT '{table}' AS name, count(*) AS total FROM {table} WHERE tenant_id = :tenant AND image_id = :uuid"
    for table in _TABLES
)
_COUNT_RECORDS = "SELECT * FROM count_audit_events(:principal, :subject)"
_COUNT_CALLER = """
    SELECT (SELECT count(*) FROM api_keys WHERE tenant_id = :tenant AND created_by = :principal) AS keys,
           (SELECT count(*) FROM rates WHERE tenant_id = :tenant AND principal = :principal) AS rates,
           (SELECT count(*) FROM images WHERE tenant_id = :tenant AND requested_by = :principal) AS images
"""
_BEGIN = """
    INSERT INTO erasures (tenant_id, image_id, requested_by, objects, rows_erased)
    VALUES (:tenant, :uuid, :by, CAST(:objects AS jsonb), CAST(:rows AS jsonb)) RETURNING id
"""
# Letters about several images name the others in their data.
_DELETE_LETTERS = """
    DELETE FROM dead_letters WHERE tenant_id = :tenant AND data IS NOT NULL
    AND position(CAST(:name AS bytea) IN data) > 0
"""
_COMPLETE = f"""
    UPDATE erasures SET completed_at = now()
    WHERE image_id = :uuid AND {OF_TENANT} AND completed_at IS NULL
    AND EXISTS (SELECT FROM images WHERE uuid = :uuid AND cleaned_up_at IS NOT NULL)
    RETURNING *
"""
_SELECT = "SELECT * FROM erasures WHERE tenant_id = :tenant AND id = :id"
_PURGE = """
    DELETE FROM erasures WHERE id = ANY(ARRAY(
        SELECT id FROM erasures WHERE completed_at < now() - make_interval(days => :days) LIMIT 500
        FOR UPDATE SKIP LOCKED)) RETURNING id
"""
_PERSONAL_METADATA = ("location", "capturedAt", "cameraMake", "cameraModel", "lensModel")


class Privacy:
    def __init__(self, database: Database) -> None:
        self._database = database

    def describe_image(self, uuid: UUID) -> ImageHoldings:
        """Raises NotFound."""
        with self._database.transaction() as tx:
            records = tx.queue(_COUNT_RECORDS, principal=None, subject=f"{uuid}")
            found = read_holdings(tx, uuid)
        return ImageHoldings(found.personal, found.objects, {**found.rows, "audit_events": records[0]["total"]})

    def describe_caller(self, principal: str) -> CallerHoldings:
        with self._database.transaction() as tx:
            counts = tx.queue(_COUNT_CALLER, principal=principal)
            records = tx.last(_COUNT_RECORDS, principal=principal, subject=None)[0]
        return CallerHoldings(
            **counts[0],
            audit_records=records["total"],
            first_record_at=records["first_at"],
            last_record_at=records["last_at"],
        )

    def get_receipt(self, receipt_id: UUID) -> Receipt:
        """Raises NotFound."""
        with self._database.transaction() as tx:
            row = tx.row(_SELECT, id=receipt_id)
        if row is None:
            raise ReceiptNotFound
        return _to_receipt(row)

    def purge(self, days: int) -> int:
        """Delete a batch of receipts older than so many days. Return how many."""
        with self._database.transaction() as tx:
            return len(tx.rows(_PURGE, days=days))


def read_holdings(tx: Transaction, uuid: UUID) -> ImageHoldings:
    """Raises NotFound."""
    objects = tx.queue(_LIST_OBJECTS, uuid=uuid)
    counts = tx.queue(_COUNT_ROWS, uuid=uuid)
    row = tx.row(_SELECT_IMAGE, uuid=uuid)
    if row is None:
        raise ImageNotFound
    original = HeldObject(row["original_key"] or "", row["size_bytes"], row["sha256"], row["shared"])
    renditions = [HeldObject(each["key"], each["size_bytes"]) for each in objects]
    return ImageHoldings(
        personal=tuple(_list_personal(row)),
        objects=tuple([original, *renditions] if original.key else renditions),
        rows={"images": 1} | {each["name"]: each["total"] for each in counts},
    )


def _list_personal(row: dict[str, Any]) -> Iterable[str]:
    yield from (name for name in ("filename", "description", "thumbnail") if row[name])
    if row["likeness"]:
        yield "perceptual_hash"
    stored = row["metadata"] or {}
    yield from (f"metadata.{name}" for name in _PERSONAL_METADATA if stored.get(name) is not None)


def begin_erasure(tx: Transaction, uuid: UUID, holdings: ImageHoldings, by: str) -> UUID:
    """Write down what there is of an image that this transaction deletes. Return the receipt's ID."""
    tx.queue(_DELETE_LETTERS, name=f"{uuid}".encode())
    objects = [[each.key, each.bytes, each.sha256, each.shared] for each in holdings.objects]
    rows = tx.rows(_BEGIN, uuid=uuid, by=by, objects=json.dumps(objects), rows=json.dumps(dict(holdings.rows)))
    receipt: UUID = rows[0]["id"]
    return receipt


def complete_erasure(tx: Transaction, uuid: UUID) -> None:
    """Complete the receipt of an image of which nothing is left, if there is one, and record its digest."""
    row = tx.row(_COMPLETE, uuid=uuid)
    if row:
        receipt = _to_receipt(row)
        audit.record(
            tx, Action.IMAGE_ERASED, f"{uuid}", tenant=row["tenant_id"], receipt=receipt.id, digest=receipt.digest
        )


def _to_receipt(row: dict[str, Any]) -> Receipt:
    return Receipt(
        id=row["id"],
        image=row["image_id"],
        requested_at=row["requested_at"],
        requested_by=row["requested_by"],
        objects=tuple(HeldObject(*each) for each in row["objects"]),
        rows=row["rows_erased"],
        completed_at=row["completed_at"],
    )
