"""Give out upload URLs: first the row, then a URL that takes one PUT of its file."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from shared_lib.domain.uploads import FileTooLarge, SizeMissing, UploadTerms, check_codec, compose_upload_key
from shared_lib.repositories.images import Images
from shared_lib.storage.presigned import UploadUrls


@dataclass(frozen=True)
class Reservation:
    """An image that awaits its upload, and the URL to put it to."""

    uuid: UUID
    url: str
    expires_at: datetime


@dataclass(frozen=True)
class Reservations:
    images: Images
    urls: UploadUrls
    max_bytes: int
    url_seconds: int
    requires_size: bool
    """With credentials required, the store holds callers to a size."""

    def reserve(
        self, extension: str, terms: UploadTerms, *, filename: str | None = None, description: str | None = None
    ) -> Reservation:
        """Reserve an image for the file that `terms` announce. The filename is by default the uuid and the extension.

        Raises Invalid if this deployment lacks the codec or the size is missing, TooLarge, and Forbidden if a quota is
        used up.
        """
        check_codec(extension)
        if self.requires_size and terms.size_bytes is None:
            raise SizeMissing
        size = terms.size_bytes or self.max_bytes
        if size > self.max_bytes:
            raise FileTooLarge(self.max_bytes)
        uuid = uuid4()
        self.images.reserve(uuid, filename or f"{uuid}.{extension}", description, reserved=size)
        url = self.urls.sign(compose_upload_key(self.images.tenant, uuid), self.url_seconds, terms)
        return Reservation(uuid, url, datetime.now(UTC) + timedelta(seconds=self.url_seconds))
