"""Take images in: direct uploads, uploads that clients put into the inbox, and objects that have no row yet."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from shared_lib import background
from shared_lib.domain.images import ImageStatus
from shared_lib.domain.uploads import PROBES, StoredObject
from shared_lib.errors import CommitUncertain, NotFound, Rejected, Unavailable
from shared_lib.events import ImageRequested, ObjectsCreated, ProcessingRequested
from shared_lib.limits import Limits
from shared_lib.observability import get_logger
from shared_lib.pipeline.formats import sniff
from shared_lib.pipeline.recipe import Recipe
from shared_lib.repositories.image_queries import ImageQueries
from shared_lib.repositories.images import Images
from shared_lib.services.announcing import Announcer
from shared_lib.storage.buckets import Gallery, Inbox

log = get_logger()

_ABSENCES = 10
"""After so many looks, one a second, an upload counts as not committed."""


@dataclass(frozen=True)
class Ingestion:
    images: Images
    image_queries: ImageQueries
    inbox: Inbox
    gallery: Gallery
    announcer: Announcer
    limits: Limits

    def ingest(
        self, filename: str, description: str | None, data: bytes, content_type: str, recipes: Sequence[Recipe] = ()
    ) -> UUID:
        """Take in a direct upload: first the row, then the object, then the event.

        The object is the image's original, under its final key. What is no image goes to the inbox, and so does an
        original while an equal one is being deleted. Reconciliation does what an interruption leaves undone.
        """
        uuid, form = uuid4(), sniff(data)
        original = self.gallery.describe_original(data, form, self.images.tenant) if form else None
        try:
            named = original and self.images.create_with_original(uuid, filename, description, original, recipes)
            if not named:
                self.images.create(uuid, filename, description, len(data), recipes)
        except CommitUncertain:
            self._take_back_later(uuid)
            raise
        try:
            if original and named:
                self.gallery.store_original(original, data, is_published=named.is_published)
            else:
                self.inbox.put(str(uuid), data, content_type)
        except Unavailable:
            try:
                self.images.delete(uuid)  # the store may have it all the same
            except Unavailable:
                self._take_back_later(uuid)
            raise
        self.announcer.publish_best_effort(ProcessingRequested(uuid=uuid), wait=False)
        return uuid

    def _take_back_later(self, uuid: UUID) -> None:
        """Delete an image whose uploader is told that it failed, when the database is back and if it has the row."""

        def take_back() -> None:
            absences = 0
            while absences < _ABSENCES:
                time.sleep(1)
                try:
                    self.images.delete(uuid)
                except NotFound:  # the server may still be about to commit it
                    absences += 1
                except Unavailable:
                    continue
                else:
                    return

        background.start(take_back, "take-back")

    def resolve(self, event: ImageRequested | ObjectsCreated) -> Iterator[UUID]:
        """Yield the images that an event is about. An object whose client chose its key is adopted on the way.

        Whether an image is there, and has its upload, is not known before it is claimed.
        """
        if isinstance(event, ImageRequested):
            yield event.uuid
            return
        for key in event.keys:
            if uuid := StoredObject.name_image(key):
                yield uuid
            elif (found := self.inbox.head(key)) and self.adopt(found):
                yield found.image

    def receive_awaited(self, uuid: UUID, *, reserved: bool) -> bool:
        """Return whether an image's upload is there. Without `reserved` the image has no row and is then adopted."""
        found = self.inbox.head(str(uuid))
        return found is not None and (reserved or self.adopt(found))

    def adopt(self, found: StoredObject) -> bool:
        """Make an image of an object that some client put into the inbox. Return False if it is gone meanwhile.

        An object that is too large fails at once and is deleted, without being moved to its key.
        """
        if found.key.startswith(PROBES):
            self.inbox.delete_if_unchanged(found)
            return False
        self.images.adopt(found)
        if found.named_image is None and not self._move(found):
            return False
        log.info("object_adopted", key=found.key, image=str(found.image))
        return True

    def _move(self, foreign: StoredObject) -> bool:
        try:
            self.limits.enforce_file(foreign.size)
        except Rejected as reason:
            self.images.give_up(foreign.image, reason.failure, reason.public)
            self.inbox.delete_if_unchanged(foreign)
            return True
        if self.inbox.move(foreign):
            return True
        if not self.inbox.head(str(foreign.image)):  # nor did anyone else move it
            self.images.forget(foreign.image)
        return False

    def is_stored(self, uuid: UUID) -> bool:
        """Return whether the image exists and its original, or something made of it, is in the store."""
        for _ in range(2):  # the processor may publish and empty the inbox between the two checks
            state = self.image_queries.get_state(uuid)
            if state is None or state.deleted:
                return False
            if state.status is ImageStatus.SUCCEEDED or self.has_arrived(uuid, state.original_key):
                return True
        return False

    def has_arrived(self, uuid: UUID, original_key: str | None) -> bool:
        """Return whether an image's bytes are in the store, if it has not succeeded."""
        return bool(original_key and self.gallery.head(original_key)) or self.inbox.head(str(uuid)) is not None
