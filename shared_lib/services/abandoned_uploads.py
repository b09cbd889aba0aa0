"""Delete uploads that nobody will complete: rows whose URL was not used, parts that no image awaits, and too many."""

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from shared_lib.database.connection import acting_for
from shared_lib.domain.multipart import StoredUpload
from shared_lib.errors import NotFound
from shared_lib.observability import get_logger
from shared_lib.repositories.drift import Drift
from shared_lib.repositories.images import Images
from shared_lib.repositories.multipart import Awaited, MultipartUploads
from shared_lib.repositories.originals import REQUEST_SECONDS
from shared_lib.services.turns import LOOKED, Turn, delete_in_bulk
from shared_lib.storage.multipart import MultipartStore

log = get_logger()


@dataclass(frozen=True)
class AbandonedUploads:
    drift: Drift
    images: Images
    multipart_uploads: MultipartUploads
    multipart_store: MultipartStore
    multipart_seconds: float
    settling: timedelta = timedelta(seconds=REQUEST_SECONDS)
    """Minimum age before a multipart upload without a row is aborted: its row may be about to be written."""

    def expire_uploads(self, turn: Turn) -> Generator[str]:  # noqa: ARG002  all steps have the same signature
        """Delete images whose upload URL expired unused.

        Nobody looks into the store for each. The scan of the inbox finds an object that came all the same.
        """
        return delete_in_bulk("upload_expired", self.drift.expire_reservations)

    def abort_uploads(self, turn: Turn) -> Generator[str]:
        """Abort multipart uploads that no image awaits: it is deleted, its time is up, or it never got a row."""
        self.multipart_uploads.forget_completed()
        place = f"{self.multipart_store.bucket}?uploads"
        position = self.drift.read_position(place) or ""
        found = self.multipart_store.list(after=position)
        try:
            while page := list(islice(found, turn.batch)):
                awaited = self.multipart_uploads.find_awaited([each.upload_id for each in page])
                for each in page:
                    position = each.key
                    if each.upload_id in awaited:
                        yield from turn.attempt(self._measure_upload, awaited[each.upload_id])
                    elif self._is_forgotten(each):
                        yield from turn.attempt(self._abort_upload, each)
                yield LOOKED
            position = ""
        finally:
            self.drift.advance_scan(place, position)

    def _measure_upload(self, awaited: Awaited) -> Iterator[str]:
        """Delete an upload whose parts were sent again and again, and let quotas know of those that are there."""
        tenant, upload = awaited
        stored = sum(part.size for part in self.multipart_store.list_parts(upload) or ())
        if stored > upload.most:
            log.warning("upload_too_large", image=f"{upload.uuid}", bytes=stored, announced=upload.size)
            with acting_for(tenant), suppress(NotFound):
                self.images.delete_awaited(upload.uuid)
            self.multipart_store.abort(upload.key, upload.upload_id)
            yield "upload_too_large"
        elif stored > upload.size:
            self.multipart_uploads.count_bytes(upload.uuid, stored)

    def _is_forgotten(self, upload: StoredUpload) -> bool:
        """Return whether nobody is about to write its row, or, if another client began it, about to complete it."""
        patience = self.settling if upload.named_image else timedelta(seconds=self.multipart_seconds)
        return upload.begun_at < datetime.now(UTC) - patience

    def _abort_upload(self, upload: StoredUpload) -> Iterator[str]:
        self.multipart_store.abort(upload.key, upload.upload_id)
        yield "upload_aborted"
