"""Large files in parts: the client puts the parts into the store, and the service begins and completes the upload.

Afterward the object is in the inbox like any other upload, and the store's notification has it processed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from shared_lib.domain.images import ImageStatus
from shared_lib.domain.multipart import MultipartUpload, Part, choose_part_size
from shared_lib.domain.uploads import FileTooLarge, compose_upload_key
from shared_lib.errors import Conflict, Forbidden, NotFound
from shared_lib.observability import get_logger
from shared_lib.repositories.images import Images
from shared_lib.repositories.multipart import MultipartUploads
from shared_lib.services.finishing import Finisher
from shared_lib.settings import Processing
from shared_lib.storage.buckets import Inbox
from shared_lib.storage.multipart import MultipartStore, PartsChanged

log = get_logger()

_NAMED = 20  # missing parts that an error lists


class UploadComplete(Conflict):
    public = "The upload is complete"
    code = "upload_complete"


class UploadLost(Conflict):
    public = "The store no longer has this upload: abort it, and begin another"
    code = "upload_lost"


class PartsMissing(Conflict):
    public = "Some parts are missing: upload them, then complete again"
    code = "parts_missing"


@dataclass(frozen=True)
class Progress:
    """An upload, and those of its parts that the store has."""

    upload: MultipartUpload
    parts: Sequence[Part]

    @property
    def missing(self) -> list[int]:
        return self.upload.find_missing(self.parts)


@dataclass(frozen=True)
class MultipartIngestion:
    uploads: MultipartUploads
    images: Images
    inbox: Inbox
    store: MultipartStore
    finisher: Finisher
    max_bytes: int
    settings: Processing

    def begin(self, size: int, filename: str | None, extension: str, description: str | None) -> MultipartUpload:
        """Begin an upload: first in the store, then as a row. Raises TooLarge, and Forbidden if a quota is used up.

        If the row is not written, reconciliation aborts what the store has.
        """
        if size > self.max_bytes:
            raise FileTooLarge(self.max_bytes)
        uuid, seconds = uuid4(), self.settings.multipart_seconds
        key = compose_upload_key(self.images.tenant, uuid)
        upload = MultipartUpload(
            uuid=uuid,
            key=key,
            upload_id=self.store.begin(key),
            size=size,
            part_size=choose_part_size(size),
            expires_at=datetime.now(UTC) + timedelta(seconds=seconds),
        )
        try:
            self.uploads.create(upload, filename or f"{uuid}.{extension}", description, seconds)
        except Forbidden:
            self.store.abort(key, upload.upload_id)
            raise
        return upload

    def sign(self, uuid: UUID, numbers: Sequence[int]) -> tuple[MultipartUpload, list[str]]:
        """Return the upload, and a URL for each part. Raises NotFound, also for a part beyond it, and Conflict."""
        upload = self._find(uuid)
        if beyond := [number for number in numbers if number not in upload.numbers]:
            sentence = f"The file has parts 1 to {upload.part_count}, and no part {beyond[0]}"
            raise NotFound(sentence, code="no_such_part")
        return upload, [self.store.sign(upload, number, self.settings.upload_url_seconds) for number in numbers]

    def describe(self, uuid: UUID) -> Progress:
        """Return what the store has of an upload. Raises NotFound and Conflict."""
        upload = self._find(uuid)
        parts = self.store.list_parts(upload)
        if parts is None:
            raise UploadComplete if self.inbox.head(upload.key) else UploadLost
        return Progress(upload, upload.choose(parts))

    def complete(self, uuid: UUID) -> ImageStatus:
        """Have the store make one object of all parts, and return the image's status. A second time changes nothing.

        Raises NotFound, and Conflict if a part is missing or has another size than announced.
        """
        found = self.uploads.find(uuid)
        if isinstance(found, ImageStatus):
            return found
        stored = self.store.list_parts(found)
        if stored is None or not self._assemble(found, stored):
            return self._confirm(found)
        log.info("multipart_upload_completed", image=f"{uuid}", parts=found.part_count, bytes=found.size)
        self.uploads.complete(uuid)
        return ImageStatus.PENDING

    def _assemble(self, upload: MultipartUpload, stored: Sequence[Part]) -> bool:
        """Return False if another request did."""
        parts = upload.choose(stored)
        if missing := upload.find_missing(parts):
            if self._is_complete(upload):  # the store is deleting the parts, one by one
                return False
            sizes = {each.number: each.size for each in stored}
            raise PartsMissing(
                details=[_describe_missing(upload, number, sizes.get(number)) for number in missing[:_NAMED]]
            )
        try:
            return self.store.complete(upload, parts)
        except PartsChanged as error:
            message = "A part was uploaded again meanwhile: complete the upload when all parts are there"
            raise Conflict(message, code="parts_changed") from error

    def _is_complete(self, upload: MultipartUpload) -> bool:
        return bool(self.inbox.head(upload.key)) or isinstance(self.uploads.find(upload.uuid), ImageStatus)

    def _confirm(self, upload: MultipartUpload) -> ImageStatus:
        """Return the status of an image that another request has completed, or this one before its answer was lost."""
        if self.inbox.head(upload.key):
            self.uploads.complete(upload.uuid)
            return ImageStatus.PENDING
        found = self.uploads.find(upload.uuid)  # it may have been processed meanwhile
        if isinstance(found, ImageStatus):
            return found
        raise UploadLost

    def abort(self, uuid: UUID) -> None:
        """Delete the image, which nobody has seen, and all parts. Raises NotFound, and Conflict if it is complete."""
        self._find(uuid)
        if not self.images.delete_awaited(uuid):
            raise UploadComplete
        self.finisher.try_to_clean_up(uuid)

    def _find(self, uuid: UUID) -> MultipartUpload:
        found = self.uploads.find(uuid)
        if isinstance(found, ImageStatus):
            raise UploadComplete
        return found


def _describe_missing(upload: MultipartUpload, number: int, size: int | None) -> dict[str, str]:
    if size == upload.size_of(number):
        has = "was uploaded twice at once, with other bytes: upload it again"
    else:
        has = "is not there" if size is None else f"has {size:,} bytes, and needs {upload.size_of(number):,}"
    return {"parameter": f"part {number}", "message": has}
