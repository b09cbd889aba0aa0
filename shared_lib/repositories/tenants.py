"""Tenants: walls between customers. Each sees its own row only, as it does of everything else."""

from datetime import datetime
from uuid import UUID

from shared_lib.constraints import DEFAULT_TENANT, TENANT_ID
from shared_lib.database.connection import Database, acting_for
from shared_lib.domain.audit import Action
from shared_lib.errors import Conflict, NotFound
from shared_lib.repositories.audit import record

_INSERT = "INSERT INTO tenants (id) VALUES (:id) ON CONFLICT DO NOTHING RETURNING id"
_EXISTS = "SELECT 1 FROM tenants WHERE id = :id"
_LIST_IMAGES = "SELECT uuid FROM images WHERE tenant_id = :tenant AND deleted_at IS NULL LIMIT :batch"
# Each call revokes what was issued before it. Nobody brings a link back by an earlier time.
_REVOKE_LINKS = """
    UPDATE tenants SET links_since = greatest(links_since, clock_timestamp()) WHERE id = :tenant RETURNING links_since
"""
_DELETE_KEYS = "DELETE FROM api_keys WHERE tenant_id = :tenant"
# Of images, tombstones stay until their objects are gone. The audit log and receipts are kept for their time.
_DELETE_REST = (
    "DELETE FROM collections WHERE tenant_id = :tenant",
    "DELETE FROM presets WHERE tenant_id = :tenant",
    "DELETE FROM dead_letters WHERE tenant_id = :tenant",
)
_DELETE = "DELETE FROM tenants WHERE id = :tenant RETURNING id"
_BATCH = 200


class Tenants:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, tenant: str) -> None:
        """Raise Conflict if there is one of that name."""
        with acting_for(tenant), self._database.transaction() as tx:
            if tx.row(_INSERT, id=tenant) is None:
                raise Conflict(f"There is a tenant {tenant} already", code="tenant_exists")
            record(tx, Action.TENANT_CREATED, tenant)

    def exists(self, tenant: str) -> bool:
        """Return whether there is one of that name, which may be any text."""
        if tenant == DEFAULT_TENANT:
            return True
        if not TENANT_ID.fullmatch(tenant):
            return False
        with acting_for(tenant), self._database.transaction() as tx:
            return tx.row(_EXISTS, id=tenant) is not None

    def revoke_links(self, tenant: str) -> datetime:
        """Revoke all links that were signed for the tenant's images before. Return since when. Raises NotFound."""
        with acting_for(tenant), self._database.transaction() as tx:
            row = tx.row(_REVOKE_LINKS)
            if row is None:
                raise NotFound(f"There is no tenant {tenant}", code="tenant_not_found")
            record(tx, Action.LINKS_REVOKED, tenant)
        since: datetime = row["links_since"]
        return since

    def list_images(self, tenant: str) -> list[UUID]:
        """Return a batch of its images."""
        with acting_for(tenant), self._database.transaction() as tx:
            return [row["uuid"] for row in tx.rows(_LIST_IMAGES, batch=_BATCH)]

    def end_keys(self, tenant: str) -> None:
        """Delete its keys. Only the owner of the tables may."""
        with acting_for(tenant), self._database.transaction() as tx:
            tx.rows(_DELETE_KEYS)

    def delete(self, tenant: str) -> None:
        """Delete the tenant, which has no images any more. To repeat it is harmless."""
        with acting_for(tenant), self._database.transaction() as tx:
            for statement in _DELETE_REST:
                tx.rows(statement)
            if tx.row(_DELETE):
                record(tx, Action.TENANT_DELETED, tenant)
