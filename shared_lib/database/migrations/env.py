"""Run migrations for Alembic: on our connection, in one transaction, under a lock so that two jobs do not race."""

from alembic import context
from sqlalchemy import NullPool, create_engine, text

from shared_lib.database.rights import GRANTEES, OWNER, compose_grants
from shared_lib.errors import Conflict

UNPREPARED = (
    "The database is not prepared for its roles: have its administrator run infra/k8s/components/postgres/roles.sql "
    f"in it, and let DATABASE_URL name {OWNER}. docs/security.md has the commands"
)
_IS_PREPARED = """
    SELECT pg_has_role(oid, 'MEMBER') AND has_schema_privilege(oid, current_schema(), 'CREATE') AND NOT EXISTS (
        SELECT FROM pg_class WHERE oid = to_regclass('alembic_version') AND relowner <> pg_roles.oid)
        AND NOT EXISTS (SELECT FROM unnest(CAST(:grantees AS text[])) AS each WHERE to_regrole(each) IS NULL)
    FROM pg_roles WHERE rolname = :owner
"""

engine = create_engine("postgresql+pg8000://", creator=context.config.attributes["connect"], poolclass=NullPool)
with engine.connect() as connection, connection.begin():
    if not connection.execute(text(_IS_PREPARED), {"owner": OWNER, "grantees": [*GRANTEES]}).scalar():
        raise Conflict(UNPREPARED)
    connection.execute(text(f"SET LOCAL ROLE {OWNER}"))
    # Any constant will do, so long as every run takes the same.
    connection.execute(text("SELECT pg_advisory_xact_lock(7226031)"))
    context.configure(connection=connection, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()
        if context.get_context().get_current_heads() == (context.get_head_revision(),):
            for grant in compose_grants():
                connection.execute(text(grant))
