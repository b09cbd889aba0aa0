"""Tags that caches outside have to forget. The database's triggers request them, and reconciliation does it.

Each is done twice: a rendition that was on its way during the first time may have reached a cache after it.
"""

from dataclasses import dataclass
from datetime import datetime

from shared_lib.database.connection import Database

_FORGOTTEN_SECONDS = 3600  # after which a request is dropped if there is no cache

# Claimed by making them due later. So a process that dies, or a cache that fails, delays them and loses none.
_CLAIM = """
    UPDATE purges SET attempts = attempts + 1,
                      due_at = now() + make_interval(secs => least(3600, 30 * power(2, least(attempts, 8))))
    WHERE tag IN (SELECT tag FROM purges WHERE due_at <= now() ORDER BY due_at LIMIT :most FOR UPDATE SKIP LOCKED)
    RETURNING tag, passes, requested_at
"""
# Unless it was requested again meanwhile.
_REPEAT = """
    UPDATE purges SET passes = passes - 1, attempts = 0, due_at = now() + make_interval(secs => :seconds)
    WHERE passes > 1 AND (tag, requested_at) IN (
        SELECT * FROM unnest(CAST(:tags AS text[]), CAST(:times AS timestamptz[])))
"""
_FINISH = """
    DELETE FROM purges WHERE passes = 1 AND (tag, requested_at) IN (
        SELECT * FROM unnest(CAST(:tags AS text[]), CAST(:times AS timestamptz[])))
"""
_FORGET = """
    DELETE FROM purges WHERE tag IN (
        SELECT tag FROM purges WHERE due_at < now() - make_interval(secs => :seconds) LIMIT 1000 FOR UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True, slots=True)
class Purge:
    tag: str
    passes: int
    """Times that are left, this one included."""
    requested_at: datetime


class Purges:
    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, most: int) -> list[Purge]:
        """Return some that are due. They are due again later, in case that they aren't done."""
        with self._database.transaction() as tx:
            return [Purge(**row) for row in tx.rows(_CLAIM, most=most)]

    def record(self, done: list[Purge], repeat_seconds: float) -> None:
        """Record that every cache has forgotten them. Those of the first time are due once more after so long."""
        last = [each for each in done if each.passes == 1]
        first = [each for each in done if each.passes > 1]
        with self._database.transaction() as tx:
            tx.rows(_FINISH, tags=[each.tag for each in last], times=[each.requested_at for each in last])
            tags, times = [each.tag for each in first], [each.requested_at for each in first]
            tx.rows(_REPEAT, tags=tags, times=times, seconds=repeat_seconds)

    def forget(self) -> None:
        """Drop old requests, where there is no cache to purge."""
        with self._database.transaction() as tx:
            tx.rows(_FORGET, seconds=_FORGOTTEN_SECONDS)
