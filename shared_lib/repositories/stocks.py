"""The stocks that quotas limit: images, bytes of originals, and announced uploads. Triggers count the first two."""

from shared_lib.database.connection import Transaction
from shared_lib.errors import Forbidden
from shared_lib.settings import Quotas

# Uploads of a tenant that has a quota wait for one another while their rows are inserted, so that none exceeds it.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(:tenant, 7226035))"
_SUM = """
    SELECT coalesce(sum(images), 0)::bigint AS images, coalesce(sum(bytes), 0)::bigint AS bytes FROM image_stocks
    WHERE tenant_id = :tenant
"""


_COUNT_OPEN = """
    SELECT count(*) AS uploads FROM (
        SELECT 1 FROM images WHERE tenant_id = :tenant AND status = 'awaiting_upload' AND deleted_at IS NULL
        LIMIT :most) open
"""


def lock(tx: Transaction, quotas: Quotas) -> None:
    """Let the transaction know the stocks until it ends, if a quota is set."""
    if quotas.images or quotas.bytes or quotas.open_uploads:
        tx.queue(_LOCK)


def check(tx: Transaction, quotas: Quotas) -> None:
    """Raise Forbidden if what the transaction has inserted exceeds a quota."""
    if quotas.images or quotas.bytes:
        stocks = tx.rows(_SUM)[0]
        for name, most in (("images", quotas.images), ("bytes", quotas.bytes)):
            if most and stocks[name] > most:
                raise _refuse(f"{most:,} {name}: delete images first")
    most = quotas.open_uploads
    if most and tx.rows(_COUNT_OPEN, most=most + 1)[0]["uploads"] > most:
        raise _refuse(f"{most:,} uploads that were announced and have not come: wait, or delete some first")


def _refuse(most: str) -> Forbidden:
    return Forbidden(f"With this upload there would be more than {most}", code="quota_exceeded")
