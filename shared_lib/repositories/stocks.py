"""The stocks that quotas limit: images, and bytes of originals. Triggers count them with each change."""

from shared_lib.database.connection import Transaction
from shared_lib.errors import Forbidden
from shared_lib.settings import Quotas

# Uploads of a tenant that has a quota wait for one another while their rows are inserted, so that none exceeds it.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(:tenant, 7226035))"
_SUM = """
    SELECT coalesce(sum(images), 0)::bigint AS images, coalesce(sum(bytes), 0)::bigint AS bytes FROM image_stocks
    WHERE tenant_id = :tenant
"""


def lock(tx: Transaction, quotas: Quotas) -> None:
    """Let the transaction know the stocks until it ends, if a quota is set."""
    if quotas.images or quotas.bytes:
        tx.queue(_LOCK)


def check(tx: Transaction, quotas: Quotas) -> None:
    """Raise Forbidden if what the transaction has inserted exceeds a quota."""
    if not (quotas.images or quotas.bytes):
        return
    stocks = tx.rows(_SUM)[0]
    for name, most in (("images", quotas.images), ("bytes", quotas.bytes)):
        if most and stocks[name] > most:
            raise Forbidden(
                f"With this upload there would be more than {most:,} {name}: delete images first",
                code="quota_exceeded",
            )
