"""Indexes of tables that may be large and in use. They are built beside running functions, after the migrations.

`CREATE INDEX` in a migration keeps everybody from writing to the table until the index is built: 13 s with three
million audit records. `CREATE INDEX CONCURRENTLY` does not, but can't run in a transaction, as migrations do
(PostgreSQL 18, CREATE INDEX, "Building Indexes Concurrently").
"""

from pg8000.dbapi import Connection

from shared_lib import observability
from shared_lib.database.rights import OWNER

INDEXES = {
    "audit_events_by_subject": "audit_events (tenant_id, subject, id) INCLUDE (recorded_at)",
    "audit_events_by_principal": "audit_events (tenant_id, principal, id) INCLUDE (recorded_at)",
    "audit_events_by_action": "audit_events (tenant_id, action, id)",
}

_LOCK = 7226032
"""Of sessions that build indexes: an advisory lock. Two that build the same index at once would fail."""

log = observability.get_logger()


def build_indexes(connection: Connection) -> None:
    """Build the indexes that are missing, also those whose building broke off. Idempotent.

    It waits for all transactions that are running. While another session builds indexes, it leaves that to it.
    """
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(f"SET ROLE {OWNER}")
    cursor.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))
    if cursor.fetchone() != [True]:
        log.info("indexes_being_built")
        return
    for name, definition in INDEXES.items():
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (name,))
        found = cursor.fetchone()
        if found == [True]:
            continue
        if found:
            cursor.execute(f"DROP INDEX CONCURRENTLY {name}")
        cursor.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")
        log.info("index_built", index=name)
