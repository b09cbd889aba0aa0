"""API keys. Of a key's secret only the SHA-256 is stored, so a copy of the database holds no usable key."""

from typing import Any

from shared_lib.database.connection import Database, Transaction
from shared_lib.domain.api_keys import ApiKey, ApiKeyNotFound, ApiKeyText, KeyGrant, KeyNotRotatable
from shared_lib.domain.audit import Action
from shared_lib.domain.principals import Role
from shared_lib.errors import Conflict
from shared_lib.repositories.audit import record

_COLUMNS = """
    k.id, k.tenant_id, k.name, k.role, k.scopes, k.created_at, k.created_by, k.expires_at, k.last_used_at, k.revoked_at,
    k.replaced_by
"""
_INSERT = f"""
    INSERT INTO api_keys AS k (id, tenant_id, digest, name, role, scopes, created_by, expires_at)
    VALUES (:id, :tenant, :digest, :name, :role, CAST(:scopes AS text[]), :created_by,
            now() + make_interval(days => :days))
    RETURNING {_COLUMNS}
"""
_COUNT_LIVE = (
    "SELECT count(*) AS live FROM api_keys WHERE tenant_id = :tenant AND revoked_at IS NULL AND expires_at > now()"
)
# Whatever its tenant is, which nobody knows yet.
_LOOK_UP = f"SELECT k.digest, {_COLUMNS} FROM find_api_key(:id) k"
_SELECT = f"SELECT {_COLUMNS} FROM api_keys k WHERE k.id = :id AND k.tenant_id = :tenant"
# Once an hour, so that a key in constant use costs no writes.
_TOUCH = """
    UPDATE api_keys SET last_used_at = date_trunc('hour', now())
    WHERE id = :id AND tenant_id = :tenant AND (last_used_at IS NULL OR last_used_at < date_trunc('hour', now()))
"""
_LIST = f"SELECT {_COLUMNS} FROM api_keys k WHERE k.tenant_id = :tenant ORDER BY k.created_at DESC, k.id LIMIT :most"
_REVOKE = f"""
    UPDATE api_keys k SET revoked_at = coalesce(k.revoked_at, now())
    WHERE k.id = :id AND k.tenant_id = :tenant RETURNING {_COLUMNS}
"""
_LOCK = """
    SELECT replaced_by, revoked_at IS NULL AND expires_at > now() AS is_live FROM api_keys
    WHERE id = :id AND tenant_id = :tenant FOR UPDATE
"""
_REPLACE = """
    UPDATE api_keys SET replaced_by = :successor,
                        expires_at = least(expires_at, now() + make_interval(hours => :hours))
    WHERE id = :id AND tenant_id = :tenant
"""
# The database's function decides which: those that ended 90 days ago. The caller's role may not even read keys.
_PURGE = "SELECT purge_api_keys() AS purged"
MAX_LIVE = 1000


class ApiKeys:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, key: ApiKeyText, grant: KeyGrant, created_by: str) -> ApiKey:
        """Store a key. Raises Conflict if there are too many."""
        with self._database.transaction() as tx:
            if tx.rows(_COUNT_LIVE)[0]["live"] >= MAX_LIVE:
                raise Conflict(f"There are {MAX_LIVE} live API keys: revoke some first", code="too_many_keys")
            made = _insert(tx, key, grant, created_by)
            record(tx, Action.API_KEY_CREATED, key.id, name=grant.name, role=grant.role.value, scopes=grant.scopes)
        return made

    def look_up(self, key_id: str) -> tuple[ApiKey, bytes] | None:
        """Return a key of any tenant, and the digest of its secret."""
        with self._database.transaction() as tx:
            row = tx.row(_LOOK_UP, id=key_id)
            if row is None:
                return None
            digest = bytes(row.pop("digest"))
        return _to_key(row), digest

    def touch(self, key_id: str) -> None:
        """Record the hour of a use."""
        with self._database.transaction() as tx:
            tx.rows(_TOUCH, id=key_id)

    def get(self, key_id: str) -> ApiKey:
        """Return a key. Raises NotFound."""
        with self._database.transaction() as tx:
            row = tx.row(_SELECT, id=key_id)
        if row is None:
            raise ApiKeyNotFound
        return _to_key(row)

    def list(self) -> list[ApiKey]:
        """Return the newest keys, live or not."""
        with self._database.transaction() as tx:
            return [_to_key(row) for row in tx.rows(_LIST, most=MAX_LIVE)]

    def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key. A second time changes nothing. Raises NotFound."""
        with self._database.transaction() as tx:
            row = tx.row(_REVOKE, id=key_id)
            if row is None:
                raise ApiKeyNotFound
            record(tx, Action.API_KEY_REVOKED, key_id)
        return _to_key(row)

    def purge(self) -> int:
        """Delete a batch of keys that expired or were revoked 90 days ago. Return how many."""
        with self._database.transaction() as tx:
            purged: int = tx.rows(_PURGE)[0]["purged"]
        return purged

    def replace(self, replaced: str, key: ApiKeyText, grant: KeyGrant, hours: int, created_by: str) -> ApiKey:
        """Store a successor of a key, which then expires after so many hours.

        Raises NotFound, and Conflict if the key has a successor or is no longer live.
        """
        with self._database.transaction() as tx:
            row = tx.row(_LOCK, id=replaced)
            if row is None:
                raise ApiKeyNotFound
            if row["replaced_by"] or not row["is_live"]:
                raise KeyNotRotatable
            made = _insert(tx, key, grant, created_by)
            tx.rows(_REPLACE, id=replaced, successor=key.id, hours=hours)
            record(tx, Action.API_KEY_ROTATED, replaced, successor=key.id, hours=hours)
        return made


def _insert(tx: Transaction, key: ApiKeyText, grant: KeyGrant, created_by: str) -> ApiKey:
    row = tx.rows(
        _INSERT,
        id=key.id,
        digest=key.digest,
        name=grant.name,
        role=grant.role.value,
        scopes=None if grant.scopes is None else list(grant.scopes),
        days=grant.days,
        created_by=created_by,
    )[0]
    return _to_key(row)


def _to_key(row: dict[str, Any]) -> ApiKey:
    scopes = row["scopes"]
    return ApiKey(**row | {"role": Role(row["role"]), "scopes": None if scopes is None else tuple(scopes)})
