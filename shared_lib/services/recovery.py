"""Make up for lost events and dead processes: images that nobody received, processes, announces or cleans up."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeVar
from uuid import UUID

from shared_lib.domain.images import ImageState, ImageStatus
from shared_lib.domain.uploads import StoredObject, compose_upload_key
from shared_lib.errors import FailureCode
from shared_lib.events import ProcessingRequested
from shared_lib.observability import resume_trace
from shared_lib.repositories.drift import Drift, Overdue
from shared_lib.repositories.image_queries import ImageQueries
from shared_lib.repositories.images import Images
from shared_lib.services.announcing import Announcer
from shared_lib.services.finishing import Finisher
from shared_lib.services.ingestion import Ingestion
from shared_lib.services.turns import LOOKED, Turn
from shared_lib.settings import Processing
from shared_lib.storage.buckets import Inbox

Item = TypeVar("Item")


@dataclass(frozen=True)
class Recovery:
    drift: Drift
    images: Images
    image_queries: ImageQueries
    inbox: Inbox
    ingestion: Ingestion
    finisher: Finisher
    announcer: Announcer
    settings: Processing

    def scan_inbox(self, turn: Turn) -> Generator[str]:
        """Handle objects that have been in the inbox for longer than an event takes."""
        position = self.drift.read_position(self.inbox.name) or ""
        found = self.inbox.list(after=position)
        try:
            while page := list(islice(found, turn.batch)):
                settled = datetime.now(UTC) - timedelta(seconds=self.settings.pending_grace_seconds)
                waiting = [each for each in page if each.modified <= settled]
                states = self.image_queries.get_states([each.image for each in waiting])
                self.images.mark_arrived([each.image for each in waiting if _is_upload(each, states.get(each.image))])
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
                yield from self._request(found.image, found.tenant)
            elif age > keep:  # of a tenant that there is not
                yield from self._delete_object(found, "upload_removed")
        elif state.deleted or state.status is ImageStatus.SUCCEEDED:
            yield from self._delete_object(found, "upload_removed")
        elif state.status is ImageStatus.FAILED and (age > keep or state.is_upload_worthless(found.modified)):
            yield from self._delete_object(found, "failed_original_removed")
        elif found.named_image is None:  # the worker that adopted it did not get to move it
            self.ingestion.adopt(found)
        elif not _is_upload(found, state) and not self.ingestion.move_upload(state.tenant, found):
            yield from self._delete_object(found, "upload_removed")  # it names another tenant than the image's

    def _delete_object(self, found: StoredObject, repair: str) -> Iterator[str]:
        if self.inbox.delete_if_unchanged(found):
            yield repair

    def request_overdue(self, turn: Turn) -> Generator[str]:
        """Request images whose event was lost or whose worker died, and fail those whose object never came."""
        patience = timedelta(seconds=self.settings.missing_object_seconds)

        def repair(image: Overdue) -> Iterator[str]:
            if image.succeeded or self.ingestion.has_arrived(image.tenant, image.uuid, image.original_key):
                yield from self._request(image.uuid, image.tenant, image.traceparent)
            elif image.created_at < datetime.now(UTC) - patience and self.images.give_up(
                image.uuid, FailureCode.UPLOAD_MISSING, "The image was announced, but its bytes never reached the store"
            ):
                yield "upload_missing"

        return self._in_batches(turn, self.drift.find_overdue, repair)

    def _request(self, uuid: UUID, tenant: str, traceparent: str | None = None) -> Iterator[str]:
        with resume_trace(traceparent, "request image again"):
            requested = self.announcer.publish_best_effort(ProcessingRequested(uuid=uuid, tenant=tenant))
        if requested:
            yield "requested"

    def announce(self, turn: Turn) -> Generator[str]:
        """Announce images whose end Kafka has not heard of."""

        def repair(uuid: UUID) -> Iterator[str]:
            if self.announcer.announce(uuid):
                yield "announced"

        return self._in_batches(turn, self.drift.find_unannounced, repair)

    def clean_up(self, turn: Turn) -> Generator[str]:
        """Delete objects of deleted images."""

        def repair(uuid: UUID) -> Iterator[str]:
            self.finisher.clean_up(uuid)
            yield "cleaned_up"

        return self._in_batches(turn, self.drift.find_pending_cleanup, repair)

    def _in_batches(
        self,
        turn: Turn,
        find: Callable[[float, datetime, int], Sequence[Item]],
        repair: Callable[[Item], Iterator[str]],
    ) -> Generator[str]:
        """Find and repair, each row once a tick. Finding a row defers it by as long as an event takes."""
        while items := find(self.settings.pending_grace_seconds, turn.before, turn.batch):
            for item in items:
                yield from turn.attempt(repair, item)


def _is_upload(found: StoredObject, state: ImageState | None) -> bool:
    """Return whether an object is the upload of an image that has that state."""
    return state is not None and found.key == compose_upload_key(state.tenant, found.image)
