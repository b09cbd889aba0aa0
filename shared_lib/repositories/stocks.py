"""The stocks that quotas limit. Triggers count images, bytes of originals, and renditions. The others are few."""

from shared_lib.database.connection import Transaction
from shared_lib.database.driver import Prepared
from shared_lib.errors import Forbidden
from shared_lib.repositories.rows import UNFINISHED_IMAGE
from shared_lib.settings import NO_QUOTAS, Quotas

# Uploads of a tenant that has a quota wait for one another while their rows are inserted, so that none exceeds it.
_LOCK = Prepared("SELECT pg_advisory_xact_lock(hashtextextended(:tenant, 7226035))")
_SUM = """
    SELECT coalesce(sum(images), 0)::bigint AS images, coalesce(sum(bytes), 0)::bigint AS bytes,
           coalesce(sum(renditions), 0)::bigint AS renditions
    FROM image_stocks WHERE tenant_id = :tenant
"""
_COUNT_OPEN = """
    SELECT count(*) AS uploads FROM (
        SELECT 1 FROM images WHERE tenant_id = :tenant AND status = 'awaiting_upload' AND deleted_at IS NULL
        AND size_bytes IS NULL LIMIT :most) open
"""
# Direct uploads that are being stored have a size, and will wait.
_COUNT_WAITING = f"""
    SELECT count(*) AS images FROM (
        (SELECT 1 FROM images i WHERE i.tenant_id = :tenant AND {UNFINISHED_IMAGE} LIMIT :most)
        UNION ALL
        (SELECT 1 FROM images WHERE tenant_id = :tenant AND status = 'awaiting_upload' AND deleted_at IS NULL
         AND size_bytes IS NOT NULL LIMIT :most)) waiting
"""


def lock(tx: Transaction, quotas: Quotas) -> None:
    """Let the transaction know the stocks until it ends, if a quota is set."""
    if quotas != NO_QUOTAS:
        tx.queue(_LOCK)


def check(tx: Transaction, quotas: Quotas) -> None:
    """Raise Forbidden if the image that the transaction has inserted exceeds a quota."""
    _check_sums(tx, {"images": quotas.images, "bytes": quotas.bytes, "renditions": quotas.renditions})
    most = quotas.open_uploads
    if most and tx.rows(_COUNT_OPEN, most=most + 1)[0]["uploads"] > most:
        raise _refuse(f"{most:,} uploads that were announced and have not come: wait, or delete some first")
    most = quotas.waiting_images
    if most and tx.rows(_COUNT_WAITING, most=most + 1)[0]["images"] > most:
        raise _refuse(f"{most:,} images that wait to be processed: wait")


def check_renditions(tx: Transaction, quotas: Quotas) -> None:
    """Raise Forbidden if the renditions that the transaction has asked for exceed their quota."""
    _check_sums(tx, {"renditions": quotas.renditions})


def _check_sums(tx: Transaction, quotas: dict[str, int]) -> None:
    if not any(quotas.values()):
        return
    stocks = tx.rows(_SUM)[0]
    for name, most in quotas.items():
        if most and stocks[name] > most:
            raise _refuse(f"{most:,} {name}: delete images first")


def _refuse(most: str) -> Forbidden:
    return Forbidden(f"There would be more than {most}", code="quota_exceeded")
