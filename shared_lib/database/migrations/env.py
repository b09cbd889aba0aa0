"""Run migrations for Alembic: on our connection, in one transaction, under a lock so that two jobs do not race."""

from alembic import context
from sqlalchemy import create_engine, text

engine = create_engine("postgresql+pg8000://", creator=context.config.attributes["connect"])
with engine.connect() as connection, connection.begin():
    # Any constant will do, so long as every run takes the same.
    connection.execute(text("SELECT pg_advisory_xact_lock(7226031)"))
    context.configure(connection=connection, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
