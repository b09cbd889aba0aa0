"""Have failed images and renditions tried again after an outage."""

import sys
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared_lib.database.connection import Database
from shared_lib.domain.audit import Action
from shared_lib.errors import FailureCode
from shared_lib.repositories import audit, lifecycle

_BATCH = 500  # rows per statement: far from the time limit
_FIRST = UUID(int=0)
_RETRYING = (lifecycle.RETRY_FAILED_IMAGES, lifecycle.RETRY_FAILED_RENDITIONS)


class Retried(NamedTuple):
    images: int
    may_have_more: bool
    """It stopped at the number that was asked for."""


class Retries:
    def __init__(self, database: Database) -> None:
        self._database = database

    def retry(  # noqa: PLR0913  what is to be retried
        self,
        codes: Iterable[FailureCode],
        days: int,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        most: int = sys.maxsize,
        dry_run: bool = False,
    ) -> Retried:
        """Make images of the last `days` pending that failed with these codes, and renditions of succeeded images.

        `since` and `until` limit when they failed. Return how many images that are, at most `most`. Each batch is
        committed by itself and each image is met once, so after a failure, calling it again does the rest. With
        `dry_run` nothing changes. OTHER is every code that this release doesn't know.
        """
        criteria = {"codes": [code.value for code in codes], "known": [*FailureCode], "since": since, "until": until}
        of_images, of_renditions = (
            (lifecycle.LIST_FAILED_IMAGES, lifecycle.LIST_FAILED_RENDITIONS) if dry_run else _RETRYING
        )
        images = self._run(of_images, most, days=days, **criteria)
        images += self._run(of_renditions, most - images, **criteria)
        return Retried(images, images >= most)

    def _run(self, sql: str, most: int, **parameters: object) -> int:
        """Return how many images a statement met, in batches."""
        met, after = 0, _FIRST
        while met < most:
            with self._database.transaction() as tx:
                batch = tx.rows(sql, after=after, batch=min(_BATCH, most - met), **parameters)
                if batch and sql in _RETRYING:
                    audit.record(tx, Action.FAILURES_REDRIVEN, images=len(batch), codes=parameters["codes"])
            if not batch:
                break
            met += len(batch)
            after = batch[-1]["uuid"]
        return met
