"""The database's history, one file a step, applied by Alembic in the bootstrap job."""
