"""Make what should be true, true: find what events missed, repair it, and count what was repaired.

Every step may run twice at once and be killed anywhere: it ends in the same state. What the database finds comes in
batches, and the next tick goes on; the inbox, which is nearly empty when all is well, is looked through as a whole.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeVar
from uuid import UUID

from shared_lib import observability
from shared_lib.errors import FailureCode, ServiceError
from shared_lib.events import ProcessingRequested
from shared_lib.images import Status
from shared_lib.repositories import BATCH, Drift, Overdue, Trace
from shared_lib.settings import Processing
from shared_lib.uploads import StoredObject
from shared_lib.workflow import Workflow

log = observability.get_logger()

FUNCTION = "reconcile_images"
URL_SKEW_SECONDS = 900  # a PUT that began in time may end this much after its URL (S3 allows 15 min of clock skew)
TOLERATED_FAILURES = 20  # in one step; as many are no longer single items' faults

Item = TypeVar("Item")


@dataclass(frozen=True)
class Reconciliation:
    drift: Drift
    workflow: Workflow
    settings: Processing
    settling: timedelta = timedelta(hours=1)
    """How old an object in the gallery must be before no row's naming it means anything: a worker may be about to."""

    def run(self, *, everything: bool) -> dict[str, int]:
        """
        Repair what is in reach, and answer how often each repair was made.

        `everything` also compares the whole gallery with the database, which takes a listing of it. One step's
        failure does not keep the others from running; the first is raised at the end.
        """
        repairs: Counter[str] = Counter()
        failures: list[ServiceError] = []
        steps: list[Callable[[], Iterator[str]]] = [
            self._request_overdue,
            self._expire_uploads,
            self._empty_inbox,
            self._announce,
            self._sweep,
            *([self._compare_gallery] if everything else []),
        ]
        for step in steps:
            try:
                repairs.update(step())
            except ServiceError as error:
                observability.log_failure(log, "reconciliation_step_failed", error, step=step.__name__.strip("_"))
                failures.append(error)
        (log.info if repairs else log.debug)("reconciled", **repairs)
        if failures:
            raise failures[0]
        return dict(repairs)

    def _request_overdue(self) -> Iterator[str]:
        """Images whose event was lost, or whose worker died: ask again; those whose object never came: fail."""
        patience = timedelta(seconds=self.settings.missing_object_seconds)

        def repair(image: Overdue) -> Iterator[str]:
            if image.published or self.workflow.inbox.look(str(image.uuid)):
                yield from self._request(image.uuid)
            elif image.created_at < datetime.now(UTC) - patience and self.workflow.images.fail(
                image.uuid, FailureCode.UPLOAD_MISSING, "The image was announced, but its bytes never reached the store"
            ):
                yield "upload_missing"

        return _one_by_one(self.drift.find_overdue(self.settings.pending_grace_seconds), repair)

    def _request(self, uuid: UUID) -> Iterator[str]:
        if self.workflow.hint(ProcessingRequested(uuid=uuid), function=FUNCTION):
            yield "requested"

    def _expire_uploads(self) -> Iterator[str]:
        """Upload URLs that ran out unused: the image never was."""

        def repair(uuid: UUID) -> Iterator[str]:
            if self.workflow.inbox.look(str(uuid)):
                yield from self._request(uuid)
            elif self.drift.forget_upload(uuid):
                yield "upload_expired"

        return _one_by_one(self.drift.find_expired_uploads(URL_SKEW_SECONDS), repair)

    def _empty_inbox(self) -> Iterator[str]:
        """Objects that lie in the inbox for longer than an event takes."""
        grace = timedelta(seconds=self.settings.pending_grace_seconds)
        waiting = (found for found in self.workflow.inbox.walk() if datetime.now(UTC) - found.modified >= grace)
        while batch := list(islice(waiting, BATCH)):
            states = self.workflow.images.trace_all([found.image for found in batch])
            yield from _one_by_one([(found, states.get(found.image)) for found in batch], self._deal_with)

    def _deal_with(self, item: tuple[StoredObject, Trace | None]) -> Iterator[str]:
        found, state = item
        age = datetime.now(UTC) - found.modified
        if state is None:
            if self.workflow.adopt(found):
                yield "adopted"
                yield from self._request(found.image)
        elif state.deleted or state.status is Status.SUCCEEDED:
            yield from self._discard(found, "leftover_removed")
        elif state.status is Status.FAILED and age > self._retention:
            yield from self._discard(found, "failed_original_removed")
        elif (state.status is Status.AWAITING_UPLOAD or found.named_image is None) and self.workflow.adopt(found):
            yield from self._request(found.image)

    def _discard(self, found: StoredObject, repair: str) -> Iterator[str]:
        if self.workflow.inbox.discard(found):
            yield repair

    def _announce(self) -> Iterator[str]:
        """Images whose end Kafka has not heard of."""

        def repair(uuid: UUID) -> Iterator[str]:
            if self.workflow.announce(uuid, function=FUNCTION):
                yield "announced"

        return _one_by_one(self.drift.find_unannounced(self.settings.pending_grace_seconds), repair)

    def _sweep(self) -> Iterator[str]:
        """Deleted images: their objects at once, what is left of their rows after a while."""

        def repair(uuid: UUID) -> Iterator[str]:
            self.workflow.sweep(uuid)
            yield "swept"

        yield from _one_by_one(self.drift.find_unswept(), repair)
        yield from ["purged"] * self.drift.purge(self.settings.retention_days)

    @property
    def _retention(self) -> timedelta:
        return timedelta(days=self.settings.retention_days)

    def _compare_gallery(self) -> Iterator[str]:
        """Objects that no row names are removed; objects that a row names and that are gone can only be reported."""
        settled = datetime.now(UTC) - self.settling
        known = self.drift.list_keys()
        for found in self.workflow.gallery.walk():
            if found.key in known:
                known.discard(found.key)
            elif found.modified <= settled and self._remove_orphan(found):
                yield "orphan_removed"
        for key in known:
            if self.workflow.gallery.look(key) is None and self.drift.publishes(key):
                log.error("object_missing", key=key)
                yield "object_missing"

    def _remove_orphan(self, found: StoredObject) -> bool:
        """False if a row names the key by now, or a worker that writes the same object again may make one name it."""
        uuid = StoredObject.name_image(found.key.partition("/")[0])
        if uuid is None:
            return self.workflow.originals.release(found.key, self.workflow.gallery.delete)
        state = self.workflow.images.trace(uuid)
        under_way = state is not None and not state.deleted and (state.held or not state.status.ended)
        return not (under_way or self.drift.names(found.key)) and self.workflow.gallery.discard(found)


def _one_by_one(items: Iterable[Item], repair: Callable[[Item], Iterator[str]]) -> Iterator[str]:
    """Repair each: one that cannot be does not keep the others from it. The first failure is raised at the end."""
    failures: list[ServiceError] = []
    for item in items:
        try:
            yield from repair(item)
        except ServiceError as error:
            observability.log_failure(log, "not_repaired", error, item=str(item))
            failures.append(error)
            if len(failures) == TOLERATED_FAILURES:
                break
    if failures:
        raise failures[0]
