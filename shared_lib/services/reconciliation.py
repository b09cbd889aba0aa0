"""Reconcile: find what events missed, repair it, and count the repairs.

Every step may run twice at once and be killed at any point: it ends in the same state. A tick has a budget of time and,
in each step, of rows or objects. The next tick does what it does not reach. Whatever cannot be repaired is deferred
behind all others: rows by a time of their own, objects by the scan's position in their bucket.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice, repeat
from typing import TypeVar
from uuid import UUID

from shared_lib.domain.images import ImageState, ImageStatus
from shared_lib.domain.multipart import StoredUpload
from shared_lib.domain.uploads import StoredObject
from shared_lib.errors import FailureCode
from shared_lib.events import ProcessingRequested
from shared_lib.observability import get_logger, resume_trace
from shared_lib.repositories.api_keys import ApiKeys
from shared_lib.repositories.audit import AuditLog
from shared_lib.repositories.dead_letters import DeadLetters
from shared_lib.repositories.deliveries import Deliveries
from shared_lib.repositories.drift import BATCH, Drift, Overdue
from shared_lib.repositories.image_queries import ImageQueries
from shared_lib.repositories.images import Images
from shared_lib.repositories.multipart import MultipartUploads
from shared_lib.repositories.operations import Operations
from shared_lib.repositories.originals import REQUEST_SECONDS, Originals
from shared_lib.repositories.privacy import Privacy
from shared_lib.repositories.rates import Rates
from shared_lib.services.announcing import Announcer
from shared_lib.services.comparison import Comparison
from shared_lib.services.finishing import Finisher
from shared_lib.services.ingestion import Ingestion
from shared_lib.services.turns import LOOKED, Step, Turn, run_in_turns
from shared_lib.settings import Processing
from shared_lib.settings import Reconciliation as Budget
from shared_lib.storage.buckets import Gallery, Inbox
from shared_lib.storage.multipart import MultipartStore

URL_SKEW_SECONDS = 900  # a PUT that began in time may end this much after its URL (S3 allows 15 min of clock skew)

log = get_logger()

Item = TypeVar("Item")


@dataclass(frozen=True)
class Reconciliation:
    drift: Drift
    images: Images
    image_queries: ImageQueries
    dead_letters: DeadLetters
    operations: Operations
    rates: Rates
    api_keys: ApiKeys
    audit_log: AuditLog
    privacy: Privacy
    originals: Originals
    multipart_uploads: MultipartUploads
    multipart_store: MultipartStore
    deliveries: Deliveries
    inbox: Inbox
    gallery: Gallery
    ingestion: Ingestion
    finisher: Finisher
    announcer: Announcer
    comparison: Comparison
    settings: Processing
    delivery_days: int
    """Days since its last use for which a rendition that URLs asked for is kept."""
    audit_days: int
    budget: Budget
    batch: int = BATCH
    settling: timedelta = timedelta(seconds=REQUEST_SECONDS)
    """Minimum age before a multipart upload without a row is aborted: its row may be about to be written."""

    def run(self, *, everything: bool) -> dict[str, int]:
        """
        Repair what is in reach, and return how often each repair was made.

        `everything` also begins to compare the whole gallery with the database, which the following ticks continue.
        An item that cannot be repaired counts as `not_repaired`. Raises the first failure of a whole step, after all
        steps have run.
        """
        before = self.drift.read_clock()
        if everything:
            self.comparison.begin()
        return dict(run_in_turns(self._steps(), self.budget, before, self.operations.record_run))

    def _steps(self) -> tuple[Step, ...]:
        return (
            self._scan_inbox,
            self._request_overdue,
            self._expire_uploads,
            self._abort_uploads,
            self._expire_originals,
            self._expire_deliveries,
            self._announce,
            self._clean_up,
            self._purge,
            self._link_audit_log,
            self.comparison.compare_gallery,
        )

    def _scan_inbox(self, turn: Turn) -> Generator[str]:
        """Handle objects that have been in the inbox for longer than an event takes."""
        position = self.drift.read_position(self.inbox.name) or ""
        found = self.inbox.list(after=position)
        try:
            while page := list(islice(found, self.batch)):
                settled = datetime.now(UTC) - timedelta(seconds=self.settings.pending_grace_seconds)
                waiting = [each for each in page if each.modified <= settled]
                states = self.image_queries.get_states([each.image for each in waiting])
                self.images.mark_arrived([each.image for each in waiting if each.named_image])
                for each in waiting:
                    position = each.key
                    yield from turn.attempt(self._handle_object, (each, states.get(each.image)))
                position = page[-1].key
                self.drift.advance_scan(self.inbox.name, position)
                yield LOOKED
            position = ""
        finally:
            self.drift.advance_scan(self.inbox.name, position)

    def _handle_object(self, item: tuple[StoredObject, ImageState | None]) -> Iterator[str]:
        found, state = item
        age, keep = datetime.now(UTC) - found.modified, timedelta(days=self.settings.retention_days)
        if state is None:
            if self.ingestion.adopt(found):
                yield "adopted"
                yield from self._request(found.image)
        elif state.deleted or state.status is ImageStatus.SUCCEEDED:
            yield from self._delete_object(found, "upload_removed")
        elif state.status is ImageStatus.FAILED and (age > keep or state.is_upload_worthless(found.modified)):
            yield from self._delete_object(found, "failed_original_removed")
        elif found.named_image is None:  # the worker that adopted it did not get to move it
            self.ingestion.adopt(found)

    def _delete_object(self, found: StoredObject, repair: str) -> Iterator[str]:
        if self.inbox.delete_if_unchanged(found):
            yield repair

    def _request_overdue(self, turn: Turn) -> Generator[str]:
        """Request images whose event was lost or whose worker died, and fail those whose object never came."""
        patience = timedelta(seconds=self.settings.missing_object_seconds)

        def repair(image: Overdue) -> Iterator[str]:
            if image.succeeded or self.ingestion.has_arrived(image.uuid, image.original_key):
                yield from self._request(image.uuid, image.traceparent)
            elif image.created_at < datetime.now(UTC) - patience and self.images.give_up(
                image.uuid, FailureCode.UPLOAD_MISSING, "The image was announced, but its bytes never reached the store"
            ):
                yield "upload_missing"

        return self._in_batches(turn, self.drift.find_overdue, repair)

    def _request(self, uuid: UUID, traceparent: str | None = None) -> Iterator[str]:
        with resume_trace(traceparent, "request image again"):
            requested = self.announcer.publish_best_effort(ProcessingRequested(uuid=uuid))
        if requested:
            yield "requested"

    def _expire_uploads(self, turn: Turn) -> Generator[str]:  # noqa: ARG002  all steps have the same signature
        """
        Delete images whose upload URL expired unused.

        Nobody looks into the store for each. The scan of the inbox finds an object that came all the same.
        """
        return _in_bulk("upload_expired", partial(self.drift.expire_reservations, URL_SKEW_SECONDS))

    def _abort_uploads(self, turn: Turn) -> Generator[str]:
        """Abort multipart uploads that no image awaits: it is deleted, its time is up, or it never got a row."""
        self.multipart_uploads.forget_completed()
        place = f"{self.inbox.name}?uploads"
        position = self.drift.read_position(place) or ""
        found = self.multipart_store.list(after=position)
        try:
            while page := list(islice(found, self.batch)):
                awaited = self.multipart_uploads.find_awaited([each.upload_id for each in page])
                for each in page:
                    position = each.key
                    if each.upload_id not in awaited and self._is_forgotten(each):
                        yield from turn.attempt(self._abort_upload, each)
                yield LOOKED
            position = ""
        finally:
            self.drift.advance_scan(place, position)

    def _is_forgotten(self, upload: StoredUpload) -> bool:
        """Return whether nobody is about to write its row, or, if another client began it, about to complete it."""
        patience = self.settling if upload.named_image else timedelta(seconds=self.settings.multipart_seconds)
        return upload.begun_at < datetime.now(UTC) - patience

    def _abort_upload(self, upload: StoredUpload) -> Iterator[str]:
        self.multipart_store.abort(upload.key, upload.upload_id)
        yield "upload_aborted"

    def _expire_originals(self, turn: Turn) -> Generator[str]:
        """Delete originals of images that failed and were not tried again for long."""

        def repair(key: str) -> Iterator[str]:
            if self.originals.release(key, self.gallery.delete):
                yield "failed_original_removed"

        while keys := self.drift.expire_originals(self.settings.retention_days, min(self.batch, turn.rows)):
            for key in keys:
                yield from turn.attempt(repair, key)

    def _expire_deliveries(self, turn: Turn) -> Generator[str]:
        """Delete renditions that no URL has asked for in a long time. One that is asked for meanwhile is made again."""

        def repair(key: str) -> Iterator[str]:
            if not self.drift.is_referenced(key):  # a request for processing may have made the same
                self.gallery.delete(key)
                yield "delivery_expired"

        while keys := self.deliveries.expire(self.delivery_days, min(self.batch, turn.rows)):
            for key in filter(None, keys):
                yield from turn.attempt(repair, key)
            yield LOOKED

    def _announce(self, turn: Turn) -> Generator[str]:
        """Announce images whose end Kafka has not heard of."""

        def repair(uuid: UUID) -> Iterator[str]:
            if self.announcer.announce(uuid):
                yield "announced"

        return self._in_batches(turn, self.drift.find_unannounced, repair)

    def _clean_up(self, turn: Turn) -> Generator[str]:
        """Delete objects of deleted images."""

        def repair(uuid: UUID) -> Iterator[str]:
            self.finisher.clean_up(uuid)
            yield "cleaned_up"

        return self._in_batches(turn, self.drift.find_pending_cleanup, repair)

    def _purge(self, turn: Turn) -> Generator[str]:  # noqa: ARG002  (same)
        """Delete what has been kept long enough: tombstones, dead letters, full rates, API keys and audit records."""
        yield from _in_bulk("purged", partial(self.drift.purge, self.settings.retention_days, URL_SKEW_SECONDS))
        purge_dead_letters = partial(self.dead_letters.purge, self.settings.dead_letter_days)
        yield from _in_bulk("dead_letter_purged", purge_dead_letters)
        yield from _in_bulk("rate_purged", self.rates.purge)
        yield from _in_bulk("api_key_purged", self.api_keys.purge)
        yield from _in_bulk("audit_purged", partial(self.audit_log.purge, self.audit_days))
        yield from _in_bulk("receipt_purged", partial(self.privacy.purge, self.audit_days))

    def _link_audit_log(self, turn: Turn) -> Generator[str]:  # noqa: ARG002  (same)
        """Link new records to the chain, and log its head: whoever keeps logs can check the chain against it."""
        linked = 0
        while count := (latest := self.audit_log.link())[0]:
            linked += count
            head = latest[1]
            yield LOOKED
        if linked:
            log.info("audit_log_linked", records=linked, head=f"{head}")

    def _in_batches(
        self,
        turn: Turn,
        find: Callable[[float, datetime, int], Sequence[Item]],
        repair: Callable[[Item], Iterator[str]],
    ) -> Generator[str]:
        """Find and repair, each row once a tick. Finding a row defers it by as long as an event takes."""
        while items := find(self.settings.pending_grace_seconds, turn.before, min(self.batch, turn.rows)):
            for item in items:
                yield from turn.attempt(repair, item)


def _in_bulk(repair: str, delete: Callable[[], int]) -> Generator[str]:
    """Delete batches until nothing is left."""
    while count := delete():
        yield from repeat(repair, count)
