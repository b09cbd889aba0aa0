"""The migration that the database's tables have, compared with the newest one that this release brings.

A function that is newer than the tables is not ready, so the old one goes on serving until bootstrap has run. One that
is older is ready: migrations only add what the last release needs not know (docs/deploy.md).
"""

import threading
import time
from concurrent.futures import Future, wait

from shared_lib import background, observability
from shared_lib.database.connection import Database
from shared_lib.database.migrations import find_newest_revision
from shared_lib.errors import Unavailable

AGAIN_SECONDS = 1
ANSWER_SECONDS = 0.5  # less than a probe waits

# Bootstrap grants the right with the migrations, so functions of its release lack it before.
_IS_READABLE = """
    SELECT coalesce(has_table_privilege(to_regclass('alembic_version'), 'SELECT'), false) AS is_readable
"""
_SELECT_REVISION = "SELECT max(version_num) AS revision FROM alembic_version"

log = observability.get_logger()


def read_revision(database: Database) -> str:
    """Return the migration that the tables have, or nothing if no bootstrap has run that lets this role read it."""
    with database.transaction() as tx:
        if not tx.rows(_IS_READABLE)[0]["is_readable"]:
            return ""
        return tx.last(_SELECT_REVISION)[0]["revision"] or ""


class Schema:
    """The database's tables, as a probe sees them. Once they are new enough, nothing asks the database again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._is_reached = False
        self._check: Future[bool] | None = None
        self._began_at = float("-inf")

    def is_reached(self) -> bool:
        """Return whether functions of this release can work with the tables.

        Also while the database is out of reach: to take functions away then would not bring it back.
        """
        if self._is_reached:
            return True
        check = self.begin()
        wait([check], timeout=ANSWER_SECONDS)
        try:
            self._is_reached = check.done() and check.result()
        except Unavailable:
            return True
        return self._is_reached

    def begin(self) -> "Future[bool]":
        """Ask the database in the background, at most once at a time and in a second. Return the latest check."""
        with self._lock:
            now = time.monotonic()
            if self._check is None or (self._check.done() and now - self._began_at > AGAIN_SECONDS):
                self._began_at = now
                self._check = background.start(self._compare, "schema")
            return self._check

    def _compare(self) -> bool:
        needed, found = find_newest_revision(), read_revision(self._database)
        if found < needed:
            log.warning("tables_too_old", needed=needed, found=found or None)
        return found >= needed
