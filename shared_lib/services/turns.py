"""Run the steps of a reconciliation in turns, within a budget of time and of rows or objects."""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime
from itertools import repeat
from typing import Protocol, TypeVar

from shared_lib import observability
from shared_lib.errors import ServiceError
from shared_lib.settings import Reconciliation as Budget

log = observability.get_logger()

OVERRUN_SECONDS = 240  # no step starts later than this after the budget: a tick ends within Knative's 600 s
TURN_SECONDS = 2  # of a step before the next one's turn
LOOKED = ""  # yielded by a step for each row or object, besides the names of the repairs it made
LOGGED_FAILURES = 20  # per step; more are only counted

Item = TypeVar("Item")


class Turn:
    """A step of a tick. It pauses after each row or object, and continues in its next turn."""

    def __init__(self, step: "Step", rows: int, before: datetime, batch: int) -> None:
        self.name = step.__name__
        self.before = before
        """Start of the tick. Rows that were deferred since have been met already."""
        self.rows = rows
        """Rows or objects it may still look at. 0 when it is done."""
        self._batch = batch
        self._failures = 0
        self._repairs = step(self)

    @property
    def batch(self) -> int:
        """Rows or objects to find at once."""
        return min(self._batch, self.rows)

    def take(self) -> Iterator[str]:
        """Continue for a while, with at least one row."""
        until = time.monotonic() + TURN_SECONDS
        for repair in self._repairs:
            if repair == LOOKED:
                self.rows -= 1
            else:
                yield repair
            if not self.rows or time.monotonic() >= until:
                return
        self.rows = 0

    def attempt(self, repair: Callable[[Item], Iterator[str]], item: Item) -> Iterator[str]:
        """Repair one item. Any failure is logged and counted, and the others have their turn all the same."""
        try:
            yield from repair(item)
        except Exception as error:  # noqa: BLE001  a bug must not stop everything else either
            self._failures += 1
            if self._failures <= LOGGED_FAILURES:
                _log_failure("not_repaired", error, item=str(item))
            yield "not_repaired"
        yield LOOKED

    def end(self) -> Iterator[str]:
        """Have the step record how far it came."""
        self.rows = 0
        self._repairs.close()
        return iter(())


Step = Callable[[Turn], Generator[str]]


def delete_in_bulk(repair: str, delete: Callable[[], int]) -> Generator[str]:
    """Delete batches until nothing is left, as one step or a part of it."""
    while count := delete():
        yield from repeat(repair, count)


class Record(Protocol):
    """Stores what a run did."""

    def __call__(self, repairs: Counter[str], /, *, failed: bool) -> None: ...


def run_in_turns(steps: Iterable[Step], budget: Budget, before: datetime, batch: int, record: Record) -> Counter[str]:
    """Run all steps and return how often each repair was made, which is also recorded.

    A step's failure does not keep the others from running. The first one is raised at the end.
    """
    repairs: Counter[str] = Counter()
    failures: list[Exception] = []

    def proceed(turn: Turn, action: Callable[[], Iterator[str]]) -> None:
        try:
            repairs.update(action())
        except Exception as error:  # noqa: BLE001  raised at the end
            _log_failure("reconciliation_step_failed", error, step=turn.name)
            failures.append(error)
            turn.rows = 0

    end = time.monotonic() + budget.seconds
    turns = [Turn(step, budget.rows, before, batch) for step in steps]
    late = end + OVERRUN_SECONDS  # each step has one turn, however slow the steps before it are
    while (waiting := [turn for turn in turns if turn.rows]) and time.monotonic() < late:
        for turn in waiting:
            if time.monotonic() < late:
                proceed(turn, turn.take)
        late = end
    for turn in turns:
        proceed(turn, turn.end)
    (log.info if repairs else log.debug)("reconciled", **repairs)
    record(repairs, failed=bool(failures))
    if failures:
        raise failures[0]
    return repairs


def _log_failure(event: str, error: Exception, **fields: str) -> None:
    """Log an error with its cause if it is one of ours, and with its traceback if it is a bug."""
    if isinstance(error, ServiceError):
        observability.log_failure(log, event, error, **fields)
    else:
        log.error(event, exc_info=error, **fields)
