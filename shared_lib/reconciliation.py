"""Make what should be true, true: find what events missed, repair it, and count what was repaired.

Every step may run twice at once and be killed anywhere: it ends in the same state. A step looks at no more than a
batch; the next tick goes on.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared_lib import observability
from shared_lib.errors import FailureCode, NotFound, ServiceError
from shared_lib.events import ProcessingRequested
from shared_lib.images import Status, StoredObject
from shared_lib.repositories import Drift
from shared_lib.settings import Processing
from shared_lib.workflow import Workflow

log = observability.get_logger()

FUNCTION = "reconcile_images"
URL_SKEW_SECONDS = 900  # a PUT that began in time may end this much after its URL (S3 allows 15 min of clock skew)


@dataclass(frozen=True)
class Reconciliation:
    drift: Drift
    workflow: Workflow
    settings: Processing

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
                log.warning("reconciliation_step_failed", step=step.__name__.strip("_"), reason=error.public)
                failures.append(error)
        (log.info if repairs else log.debug)("reconciled", **repairs)
        if failures:
            raise failures[0]
        return dict(repairs)

    def _request_overdue(self) -> Iterator[str]:
        """Images whose event was lost, or whose worker died: ask again; those whose object never came: fail."""
        patience = timedelta(seconds=self.settings.missing_object_seconds)
        for uuid, created_at in self.drift.find_overdue(self.settings.pending_grace_seconds):
            if self.workflow.inbox.look(str(uuid)):
                yield from self._request(uuid)
            elif created_at < datetime.now(UTC) - patience and self.workflow.images.fail(
                uuid, FailureCode.UPLOAD_MISSING, "The image was announced, but its bytes never reached the store"
            ):
                yield "upload_missing"

    def _request(self, uuid: UUID) -> Iterator[str]:
        if self.workflow.hint(ProcessingRequested(uuid=uuid), function=FUNCTION):
            yield "requested"

    def _expire_uploads(self) -> Iterator[str]:
        """Upload URLs that ran out unused: the image never was."""
        for uuid in self.drift.find_expired_uploads(URL_SKEW_SECONDS):
            if self.workflow.inbox.look(str(uuid)):
                yield from self._request(uuid)
            elif self.drift.forget_upload(uuid):
                yield "upload_expired"

    def _empty_inbox(self) -> Iterator[str]:
        """Objects that lie in the inbox for longer than an event takes."""
        now = datetime.now(UTC)
        grace, retention = timedelta(seconds=self.settings.pending_grace_seconds), self._retention
        for found in self.workflow.inbox.walk():
            if found.modified > now - grace:
                continue
            state = self.workflow.images.trace(found.image)
            if state is None:
                if self.workflow.adopt(found):
                    yield "adopted"
                    yield from self._request(found.image)
            elif state.deleted or state.status is Status.SUCCEEDED:
                yield from self._remove(found, "leftover_removed")
            elif state.status is Status.FAILED and found.modified < now - retention:
                yield from self._remove(found, "failed_original_removed")
            elif state.status is Status.AWAITING_UPLOAD or found.named_image is None:
                self.workflow.adopt(found)
                yield from self._request(found.image)

    def _remove(self, found: StoredObject, repair: str) -> Iterator[str]:
        self.workflow.inbox.delete(found.key)
        yield repair

    def _announce(self) -> Iterator[str]:
        """Images whose end Kafka has not heard of."""
        for uuid in self.drift.find_unannounced(self.settings.pending_grace_seconds):
            try:
                self.workflow.announce(self.workflow.images.get(uuid), function=FUNCTION)
            except NotFound:
                continue
            yield "announced"

    def _sweep(self) -> Iterator[str]:
        """Deleted images: their objects at once, what is left of their rows after a while."""
        for uuid in self.drift.find_unswept():
            self.workflow.sweep(uuid)
            yield "swept"
        yield from ["purged"] * self.drift.purge(self.settings.retention_days)

    @property
    def _retention(self) -> timedelta:
        return timedelta(days=self.settings.retention_days)

    def _compare_gallery(self) -> Iterator[str]:
        """Objects that no row names are removed; objects that a row names and that are gone can only be reported."""
        settled = datetime.now(UTC) - timedelta(hours=1)
        known = self.drift.list_keys()
        for found in self.workflow.gallery.walk():
            if found.key in known:
                known.discard(found.key)
            elif found.modified < settled:
                self.workflow.gallery.delete(found.key)
                yield "orphan_removed"
        for key in known:
            if self.workflow.gallery.look(key) is None and self.drift.names(key):
                log.error("object_missing", key=key)
                yield "object_missing"
