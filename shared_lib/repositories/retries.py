"""Have failed images and renditions tried again after an outage."""

from collections.abc import Iterable, Iterator
from uuid import UUID

from shared_lib.database.connection import Database
from shared_lib.errors import FailureCode
from shared_lib.repositories import lifecycle

_BATCH = 500  # rows per statement: far from the time limit
_FIRST = UUID(int=0)


class Retries:
    def __init__(self, database: Database) -> None:
        self._database = database

    def retry(self, codes: Iterable[FailureCode], days: int) -> int:
        """
        Make images of the last `days` pending that failed with these codes, and renditions of succeeded images.

        Return how many images that are. Each batch is committed by itself and each image is met once, so after a
        failure, calling it again does the rest.
        """
        wanted = [code.value for code in codes]
        images = sum(len(batch) for batch in self._run(lifecycle.RETRY_FAILED_IMAGES, codes=wanted, days=days))
        return images + sum(len(batch) for batch in self._run(lifecycle.RETRY_FAILED_RENDITIONS, codes=wanted))

    def _run(self, sql: str, **parameters: object) -> Iterator[list[UUID]]:
        after = _FIRST
        while True:
            with self._database.transaction() as tx:
                batch = [row["uuid"] for row in tx.rows(sql, after=after, batch=_BATCH, **parameters)]
            if not batch:
                return
            yield batch
            after = batch[-1]
