"""Run a command on the database in DATABASE_URL, and turn what fails into an exit status."""

import sys
from collections.abc import Callable

from shared_lib import observability, settings
from shared_lib.database.connection import Database
from shared_lib.errors import ServiceError
from shared_lib.settings import InvalidSettings, Settings


def run_on_database(command: str, act: Callable[[Settings, Database], None], tenant: str | None = None) -> int:
    """Return 0, or 1 after an error, which is then on standard error. `tenant` is whose rows there are. None: all."""
    try:
        loaded = settings.load()
        observability.configure(loaded.log.level, loaded.log.format)
        database = Database(loaded.database, tenant)
        try:
            act(loaded, database)
        finally:
            database.disconnect()
    except (InvalidSettings, ServiceError) as error:
        print(f"{command}: {error}", file=sys.stderr)  # noqa: T201  a command's output
        return 1
    return 0
