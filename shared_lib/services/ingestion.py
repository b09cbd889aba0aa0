"""Take images in: direct uploads, uploads that clients put into the inbox, and objects that have no row yet."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID, uuid4

from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.domain.images import ImageStatus
from shared_lib.domain.uploads import PROBES, Original, StoredObject, compose_upload_key, read_upload_key
from shared_lib.errors import NotFound, Rejected, Unavailable
from shared_lib.events import ImageRequested, ObjectsCreated, ProcessingRequested
from shared_lib.limits import Limits
from shared_lib.observability import get_logger
from shared_lib.pipeline.formats import sniff
from shared_lib.pipeline.recipe import Recipe
from shared_lib.repositories.image_queries import ImageQueries
from shared_lib.repositories.images import Images
from shared_lib.repositories.originals import BeingRemoved, Originals
from shared_lib.repositories.tenants import Tenants
from shared_lib.services.announcing import Announcer
from shared_lib.storage.buckets import Gallery, Inbox

log = get_logger()

_PAUSE_SECONDS = 0.25


@dataclass(frozen=True)
class Ingestion:
    images: Images
    image_queries: ImageQueries
    originals: Originals
    tenants: Tenants
    inbox: Inbox
    gallery: Gallery
    announcer: Announcer
    limits: Limits
    doubt_seconds: float = 5
    """Time for the database to say whether an upload shows."""

    def ingest(
        self, filename: str, description: str | None, data: bytes, content_type: str, recipes: Sequence[Recipe] = ()
    ) -> UUID:
        """Take in a direct upload: first the row, which is hidden, then the object, which shows it, then the event.

        The object is the image's original, under its final key. What is no image goes to the inbox, and so does an
        original while an equal one is being deleted. An upload that is not confirmed never shows, whatever dies:
        reconciliation deletes its row and with it the object. An object whose row PostgreSQL has lost in a crash is
        deleted here, or, if this process dies with it, by the comparison of the gallery.
        """
        uuid, form = uuid4(), sniff(data)
        original = self.gallery.describe_original(data, form, self.images.tenant) if form else None
        named = original and self.images.create_with_original(uuid, filename, description, original, recipes)
        if not named:
            self.images.create(uuid, filename, description, len(data), recipes, hidden=True)
        try:
            if original and named:
                self.gallery.store_original(original, data, is_published=named.is_published)
            else:
                self._put_into_inbox(uuid, data, content_type)
            self._confirm(uuid, data, content_type)
        except Unavailable:
            self._withdraw(uuid, original if named else None)
            raise
        self.announcer.publish_best_effort(ProcessingRequested(uuid=uuid, tenant=self.images.tenant), wait=False)
        return uuid

    def _withdraw(self, uuid: UUID, original: Original | None) -> None:
        """Delete an upload that failed, as far as possible now. Otherwise it stays hidden until its row is deleted."""
        with suppress(Unavailable, BeingRemoved):
            try:
                self.images.delete(uuid)
            except NotFound:  # nothing but its row would have its original deleted
                if original:
                    self.originals.release(original.key, self.gallery.delete)

    def _confirm(self, uuid: UUID, data: bytes, content_type: str) -> None:
        """Show an upload that is stored.

        While the database does not answer, it may show or not. If that stays so, the upload is accepted: an object in
        the inbox will show it, too. Raises Unavailable if the upload is known not to show.
        """
        until = time.monotonic() + self.doubt_seconds
        while True:
            try:
                is_shown = self.images.confirm_upload(uuid)
            except Unavailable:
                if time.monotonic() > until:
                    self._put_into_inbox(uuid, data, content_type)
                    return
                time.sleep(_PAUSE_SECONDS)
            else:
                break
        if not is_shown:  # a crash of the database may have lost its row
            raise Unavailable("The upload was interrupted: send the file again")

    def _put_into_inbox(self, uuid: UUID, data: bytes, content_type: str) -> None:
        self.inbox.put(compose_upload_key(self.images.tenant, uuid), data, content_type)

    def resolve(self, event: ImageRequested | ObjectsCreated) -> Iterator[tuple[UUID, str | None]]:
        """Yield the images that an event is about, and the key that names each, if the event has one.

        An object whose client chose its key is adopted on the way. Whether an image is there, and has its upload, is
        not known before it is claimed.
        """
        if isinstance(event, ImageRequested):
            yield event.uuid, None
            return
        for key in event.keys:
            if uuid := read_upload_key(key):
                yield uuid, key
            elif (found := self.inbox.head(key)) and self.adopt(found):
                yield found.image, None

    def receive_awaited(self, uuid: UUID, tenant: str | None, key: str | None) -> bool:
        """Return whether the upload of an image of that tenant is there.

        Without a tenant, the image has no row. Then the object with the key is adopted, if there is one.
        """
        if tenant:
            return self._find_upload(tenant, uuid) is not None
        found = self.inbox.head(key) if key else None
        return found is not None and self.adopt(found)

    def read_upload(self, tenant: str, uuid: UUID, check_size: Callable[[int], object]) -> bytes | None:
        """Return the bytes of an image's upload, if it is there. `check_size` may raise."""
        key = compose_upload_key(tenant, uuid)
        data = self.inbox.read(key, check_size=check_size)
        if data is None and tenant != DEFAULT_TENANT and self._find_upload(tenant, uuid):
            return self.inbox.read(key, check_size=check_size)
        return data

    def _find_upload(self, tenant: str, uuid: UUID) -> StoredObject | None:
        found = self.inbox.head(compose_upload_key(tenant, uuid))
        if found is None and tenant != DEFAULT_TENANT:
            found = self.inbox.head(f"{uuid}")
            return found if found and self.move_upload(tenant, found) else None
        return found

    def move_upload(self, tenant: str, found: StoredObject) -> bool:
        """Move an upload to the key of its tenant's image, if the last release chose its key, which named no tenant."""
        return found.tenant == DEFAULT_TENANT and self.inbox.move(found, compose_upload_key(tenant, found.image))

    def adopt(self, found: StoredObject) -> bool:
        """Make an image of an object that some client put into the inbox, of the tenant that its key names.

        Return False if there is no such tenant, or the object is gone meanwhile. One that is too large fails at once
        and is deleted, without being moved to its key.
        """
        if found.key.startswith(PROBES):
            self.inbox.delete_if_unchanged(found)
            return False
        if not self.tenants.exists(found.tenant):
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
        key = compose_upload_key(foreign.tenant, foreign.image)
        if self.inbox.move(foreign, key):
            return True
        if not self.inbox.head(key):  # nor did anyone else move it
            self.images.forget(foreign.image)
        return False

    def is_stored(self, uuid: UUID) -> bool:
        """Return whether the image exists and its original, or something made of it, is in the store."""
        for _ in range(2):  # the processor may publish and empty the inbox between the two checks
            state = self.image_queries.get_state(uuid)
            if state is None or state.deleted:
                return False
            if state.status is ImageStatus.SUCCEEDED or self.has_arrived(state.tenant, uuid, state.original_key):
                return True
        return False

    def has_arrived(self, tenant: str, uuid: UUID, original_key: str | None) -> bool:
        """Return whether an image's bytes are in the store, if it has not succeeded."""
        if original_key and self.gallery.head(original_key):
            return True
        return self._find_upload(tenant, uuid) is not None
