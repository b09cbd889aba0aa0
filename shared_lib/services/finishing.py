"""Finish with an image: fail it, clear its upload, announce its end, and clean up after its deletion."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from shared_lib import observability
from shared_lib.domain.images import ImageEnd, ImageStatus
from shared_lib.domain.uploads import compose_upload_key
from shared_lib.errors import NOT_WORTH_KEEPING, Rejected, Unavailable
from shared_lib.repositories.claims import Claim, Claims
from shared_lib.repositories.image_queries import ImageQueries
from shared_lib.repositories.images import Images
from shared_lib.repositories.originals import BeingRemoved, Originals
from shared_lib.repositories.watermarks import Watermarks
from shared_lib.services.announcing import Announcer
from shared_lib.storage.buckets import Gallery, Inbox
from shared_lib.storage.multipart import MultipartStore

log = observability.get_logger()

_CLEANING_SECONDS = 5  # that a request for many images spends on their objects


@dataclass(frozen=True)
class Finisher:
    images: Images
    image_queries: ImageQueries
    claims: Claims
    originals: Originals
    watermarks: Watermarks
    inbox: Inbox
    gallery: Gallery
    multipart_store: MultipartStore
    announcer: Announcer

    def fail(self, claim: Claim, reason: Rejected) -> ImageEnd:
        """Fail what a claim was to make, and delete an original that is not worth keeping. Raises Superseded.

        A newer upload that replaces it after the image has failed is kept.
        """
        worthless = reason.failure in NOT_WORTH_KEEPING and not claim.has_succeeded
        upload = self.inbox.head(compose_upload_key(claim.tenant, claim.uuid)) if worthless else None
        end = self.claims.fail(claim, reason, keep_original=not worthless)
        if upload:
            self.inbox.delete_if_unchanged(upload)
        if worthless and claim.original_key:
            self.originals.release(claim.original_key, self.gallery.delete)
        return end

    def finish(self, end: ImageEnd, *, from_inbox: bool) -> None:
        """Announce the end of an image, and delete the upload of one that has just succeeded.

        A failed image's upload is kept if it is worth it: the image may be tried again.
        """
        if from_inbox and end.failure is None:
            self.inbox.delete(compose_upload_key(end.tenant, end.uuid))
        self.announcer.publish_end(end)

    def finish_ended(self, uuid: UUID) -> None:
        """Do what remains to be done for an image that ended before, and delete a deleted image's objects."""
        state = self.image_queries.get_state(uuid)
        if state is None:
            return
        if state.deleted:
            self.try_to_clean_up(uuid)
            return
        if state.status is ImageStatus.SUCCEEDED:
            self.inbox.delete(compose_upload_key(state.tenant, uuid))
        if not state.announced:
            self.announcer.announce(uuid)

    def clean_up(self, uuid: UUID) -> None:
        """Delete a deleted image's objects, and the parts of an upload that was not completed."""
        state = self.image_queries.get_state(uuid)
        if state is None:
            return
        upload = compose_upload_key(state.tenant, uuid)
        if state.upload_id:  # before the object, or it could still be completed
            self.multipart_store.abort(upload, state.upload_id)
        self.inbox.delete(upload)
        self.gallery.delete_renditions(state.tenant, uuid)
        for shown in self.watermarks.list(uuid):  # renditions of other images
            self.gallery.delete(*shown.keys)
            self.watermarks.forget(uuid, shown)
        if state.original_key:
            self.originals.release(state.original_key, self.gallery.delete)
        self.images.mark_cleaned_up(uuid)
        log.info("image_erased", image=str(uuid))

    def try_to_clean_up(self, uuid: UUID) -> None:
        """Clean up as far as possible now. Reconciliation does what remains."""
        try:
            self.clean_up(uuid)
        except (Unavailable, BeingRemoved) as error:
            observability.log_failure(log, "objects_not_removed", error, image=str(uuid))

    def try_to_clean_up_all(self, uuids: Iterable[UUID]) -> None:
        """Clean up for some seconds. Reconciliation does what remains, within a minute or two."""
        until = time.monotonic() + _CLEANING_SECONDS
        for uuid in uuids:
            if time.monotonic() < until:
                self.try_to_clean_up(uuid)
