"""Make what should be true, true: find what events missed, repair it, and count what was repaired.

Every step may run twice at once and be killed anywhere: it ends in the same state. A tick has a budget of time and, in
each step, of rows or objects; what it does not reach, the next tick does. Whatever cannot be handled is put off behind
all others: rows by a time of their own, objects by the scan's position in their bucket.
"""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice, repeat
from typing import TypeVar
from uuid import UUID

from shared_lib import observability
from shared_lib.domain.images import ImageState, Status
from shared_lib.domain.uploads import StoredObject
from shared_lib.errors import FailureCode, ServiceError
from shared_lib.events import ProcessingRequested
from shared_lib.repositories import BATCH, BULK, DeadLetters, Drift, Overdue, Pair
from shared_lib.services.workflow import Workflow
from shared_lib.settings import Processing
from shared_lib.settings import Reconciliation as BudgetSettings

log = observability.get_logger()

URL_SKEW_SECONDS = 900  # a PUT that began in time may end this much after its URL (S3 allows 15 min of clock skew)
OVERRUN_SECONDS = 240  # no step begins as much later: a tick then ends well within the 600 s that Knative grants
TURN_SECONDS = 2  # that a step has before the next one's turn
LOOKED = ""  # what a step yields for each row or object, beside the names of the repairs it made
LOGGED_FAILURES = 20  # in one step; the rest of them is counted

Item = TypeVar("Item")


class Turn:
    """A step of a tick. It pauses after each row or object, and goes on when its turn comes again."""

    def __init__(self, step: "Step", rows: int, before: datetime) -> None:
        self.name = step.__name__.strip("_")
        self.before = before
        """When the tick began: what was put off since has been met."""
        self.rows = rows
        """How many it may still look at; 0 when it is done."""
        self._failures = 0
        self._repairs = step(self)

    def take(self) -> Iterator[str]:
        """Go on for a while, and with one row at least."""
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
        """Repair one. If that fails, for whatever reason, the others have their turn all the same."""
        try:
            yield from repair(item)
        except Exception as error:  # noqa: BLE001  a mistake of ours must not stop everything else either
            self._failures += 1
            if self._failures <= LOGGED_FAILURES:
                _log_failure("not_repaired", error, item=str(item))
            yield "not_repaired"
        yield LOOKED

    def end(self) -> Iterator[str]:
        """Have the step note how far it came."""
        self.rows = 0
        self._repairs.close()
        return iter(())


Step = Callable[[Turn], Generator[str]]


@dataclass(frozen=True)
class Reconciliation:
    drift: Drift
    dead_letters: DeadLetters
    workflow: Workflow
    settings: Processing
    budget: BudgetSettings
    settling: timedelta = timedelta(hours=1)
    """How old an object in the gallery must be before no row's naming it means anything: a worker may be about to."""
    batch: int = BATCH

    def run(self, *, everything: bool) -> dict[str, int]:
        """
        Repair what is in reach, and answer how often each repair was made.

        `everything` also begins to compare the whole gallery with the database, which the following ticks go on with.
        One step's failure does not keep the others from running; the first is raised at the end. What cannot be
        repaired by itself is counted as `not_repaired`.
        """
        repairs: Counter[str] = Counter()
        failures: list[Exception] = []
        end, before = time.monotonic() + self.budget.seconds, self.drift.read_clock()
        if everything:
            self.drift.begin_scan(self.workflow.gallery.name)

        def go_on(turn: Turn, how: Callable[[], Iterator[str]]) -> None:
            try:
                repairs.update(how())
            except Exception as error:  # noqa: BLE001  (same)
                _log_failure("reconciliation_step_failed", error, step=turn.name)
                failures.append(error)
                turn.rows = 0

        turns = [Turn(step, self.budget.rows, before) for step in self._steps()]
        late = end + OVERRUN_SECONDS  # each has one turn, however slow the steps before it are
        while (waiting := [turn for turn in turns if turn.rows]) and time.monotonic() < late:
            for turn in waiting:
                if time.monotonic() < late:
                    go_on(turn, turn.take)
            late = end
        for turn in turns:
            go_on(turn, turn.end)
        (log.info if repairs else log.debug)("reconciled", **repairs)
        if failures:
            raise failures[0]
        return dict(repairs)

    def _steps(self) -> tuple[Step, ...]:
        return (
            self._scan_inbox,
            self._request_overdue,
            self._expire_uploads,
            self._announce,
            self._sweep,
            self._purge,
            self._compare_gallery,
        )

    def _scan_inbox(self, turn: Turn) -> Generator[str]:
        """Objects that lie in the inbox for longer than an event takes."""
        inbox = self.workflow.inbox
        position = self.drift.read_position(inbox.name) or ""
        found = inbox.list(after=position)
        try:
            while page := list(islice(found, self.batch)):
                settled = datetime.now(UTC) - timedelta(seconds=self.settings.pending_grace_seconds)
                waiting = [each for each in page if each.modified <= settled]
                states = self.workflow.images.get_states([each.image for each in waiting])
                self.workflow.images.mark_arrived([each.image for each in waiting if each.named_image])
                for each in waiting:
                    position = each.key
                    yield from turn.attempt(self._deal_with, (each, states.get(each.image)))
                position = page[-1].key
                self.drift.advance_scan(inbox.name, position)
                yield LOOKED
            position = ""
        finally:
            self.drift.advance_scan(inbox.name, position)

    def _deal_with(self, item: tuple[StoredObject, ImageState | None]) -> Iterator[str]:
        found, state = item
        age, keep = datetime.now(UTC) - found.modified, timedelta(days=self.settings.retention_days)
        if state is None:
            if self.workflow.adopt(found):
                yield "adopted"
                yield from self._request(found.image)
        elif state.deleted or state.status is Status.SUCCEEDED:
            yield from self._discard(found, "leftover_removed")
        elif state.status is Status.FAILED and (age > keep or state.is_upload_worthless(found.modified)):
            yield from self._discard(found, "failed_original_removed")
        elif found.named_image is None:  # whoever adopted it did not come to move it
            self.workflow.adopt(found)

    def _discard(self, found: StoredObject, repair: str) -> Iterator[str]:
        if self.workflow.inbox.delete_if_unchanged(found):
            yield repair

    def _request_overdue(self, turn: Turn) -> Generator[str]:
        """Images whose event was lost, or whose worker died: ask again; those whose object never came: fail."""
        patience = timedelta(seconds=self.settings.missing_object_seconds)

        def repair(image: Overdue) -> Iterator[str]:
            if image.published or self.workflow.inbox.head(str(image.uuid)):
                yield from self._request(image.uuid)
            elif image.created_at < datetime.now(UTC) - patience and self.workflow.images.fail(
                image.uuid, FailureCode.UPLOAD_MISSING, "The image was announced, but its bytes never reached the store"
            ):
                yield "upload_missing"

        return self._in_batches(turn, self.drift.find_overdue, repair)

    def _request(self, uuid: UUID) -> Iterator[str]:
        if self.workflow.hint(ProcessingRequested(uuid=uuid)):
            yield "requested"

    def _expire_uploads(self, turn: Turn) -> Generator[str]:  # noqa: ARG002  every step is called alike
        """
        Upload URLs that ran out unused: the image never was.

        Nobody looks into the store for each: an object that has come all the same is found there, and adopted.
        """
        return _in_bulk("upload_expired", partial(self.drift.forget_uploads, URL_SKEW_SECONDS))

    def _announce(self, turn: Turn) -> Generator[str]:
        """Images whose end Kafka has not heard of."""

        def repair(uuid: UUID) -> Iterator[str]:
            if self.workflow.announce(uuid):
                yield "announced"

        return self._in_batches(turn, self.drift.find_unannounced, repair)

    def _sweep(self, turn: Turn) -> Generator[str]:
        """Objects of deleted images."""

        def repair(uuid: UUID) -> Iterator[str]:
            self.workflow.sweep(uuid)
            yield "swept"

        return self._in_batches(turn, self.drift.find_unswept, repair)

    def _purge(self, turn: Turn) -> Generator[str]:  # noqa: ARG002  (same)
        """What is left of deleted images, and what an operator has had time to read."""
        yield from _in_bulk("purged", partial(self.drift.purge, self.settings.retention_days, URL_SKEW_SECONDS))
        forget = partial(self.dead_letters.purge, self.settings.dead_letter_days)
        yield from _in_bulk("dead_letter_purged", forget)

    def _in_batches(
        self,
        turn: Turn,
        find: Callable[[float, datetime, int], Sequence[Item]],
        repair: Callable[[Item], Iterator[str]],
    ) -> Generator[str]:
        """Find and repair, each row once a tick. What is found is put off by as long as an event takes."""
        while items := find(self.settings.pending_grace_seconds, turn.before, min(self.batch, turn.rows)):
            for item in items:
                yield from turn.attempt(repair, item)

    def _compare_gallery(self, turn: Turn) -> Generator[str]:
        """Objects that no row names are removed; objects that a row names and that are gone can only be reported."""
        gallery = self.workflow.gallery
        position = self.drift.read_position(gallery.name)
        if position is None:
            return
        try:
            for count, each in enumerate(self.drift.line_up(gallery.list(after=position), after=position), 1):
                position = each.key
                if each.found is None or not each.is_named:
                    yield from turn.attempt(self._settle, each)
                if count % BULK == 0:
                    self.drift.advance_scan(gallery.name, position)
                    yield LOOKED
            position = None
        finally:
            if position is not None:
                self.drift.advance_scan(gallery.name, position)
        self.drift.end_scan(gallery.name)
        yield "gallery_compared"

    def _settle(self, difference: Pair) -> Iterator[str]:
        key, found, _ = difference
        if found is None:
            if self.workflow.gallery.head(key) is None and self.drift.publishes(key):
                log.error("object_missing", key=key)
                yield "object_missing"
        elif found.modified <= datetime.now(UTC) - self.settling and self._remove_orphan(found):
            yield "orphan_removed"

    def _remove_orphan(self, found: StoredObject) -> bool:
        """False if a row names the key by now, or a worker that writes the same object again may make one name it."""
        uuid = self.workflow.gallery.find_image(found.key)
        if uuid is None:
            return self.workflow.originals.release(found.key, self.workflow.gallery.delete)
        state = self.workflow.images.get_state(uuid)
        under_way = state is not None and not state.deleted and (state.held or not state.status.ended)
        return not (under_way or self.drift.names(found.key)) and self.workflow.gallery.delete_if_unchanged(found)


def _in_bulk(repair: str, remove: Callable[[], int]) -> Generator[str]:
    """Remove until nothing is left."""
    while count := remove():
        yield from repeat(repair, count)


def _log_failure(event: str, error: Exception, **fields: str) -> None:
    """With its cause, if it has one to name, or else with where it comes from."""
    if isinstance(error, ServiceError):
        observability.log_failure(log, event, error, **fields)
    else:
        log.error(event, exc_info=error, **fields)
