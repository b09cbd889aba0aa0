"""The database's history, one file a step, applied by Alembic in the bootstrap job."""

from functools import cache
from pathlib import Path

MIGRATIONS = Path(__file__).parent


@cache
def find_newest_revision() -> str:
    """Return the number of the newest migration that this release has. The files' names begin with it."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("*.py"))
