"""Tenants: walls between customers. Each sees its own row only, as it does of everything else."""

from shared_lib.database.connection import Database, acting_for
from shared_lib.domain.audit import Action
from shared_lib.errors import Conflict
from shared_lib.repositories.audit import record

_INSERT = "INSERT INTO tenants (id) VALUES (:id) ON CONFLICT DO NOTHING RETURNING id"
_EXISTS = "SELECT 1 FROM tenants WHERE id = :id"


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
        with acting_for(tenant), self._database.transaction() as tx:
            return tx.row(_EXISTS, id=tenant) is not None
