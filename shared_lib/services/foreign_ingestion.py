"""Make originals of foreign images, so that each is downloaded once for all sizes."""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from uuid import UUID

from shared_lib.backoff import Backoff
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import acting_for
from shared_lib.errors import NotFound, ServiceError, Unavailable
from shared_lib.observability import get_logger
from shared_lib.pipeline.formats import sniff
from shared_lib.repositories.deliveries import Deliveries, PublishedImage
from shared_lib.repositories.foreign_images import ForeignImage, ForeignImages
from shared_lib.repositories.images import Images
from shared_lib.services.ingestion import Ingestion

if TYPE_CHECKING:
    from shared_lib.foreign import ForeignSources

log = get_logger()

_CLAIM_SECONDS = 30.0  # longer than fetching may take
_FAILED_SECONDS = 60.0  # that a failure counts


@dataclass(frozen=True)
class ForeignIngestion:
    sources: "ForeignSources"
    foreign_images: ForeignImages
    images: Images
    deliveries: Deliveries
    ingestion: Ingestion
    fresh_seconds: float
    """Time until the server is asked whether its file has changed."""
    wait_seconds: float

    def find_image(self, url: str) -> PublishedImage:
        """Return the image that a URL leads to. Fetch it if it is new, or was not asked for in long.

        Raises NotFound if it may not or can't be fetched, or is not processed in time, and Unavailable.
        """
        from shared_lib.foreign import identify  # noqa: PLC0415  only what delivers needs it

        url = self.sources.check(url)
        until = time.monotonic() + self.wait_seconds
        with acting_for(DEFAULT_TENANT):
            uuid = self._find(url, identify(url), until)
            backoff = Backoff(until)
            while True:
                try:
                    return self.deliveries.find_image(uuid)
                except NotFound as error:
                    if error.code != "image_pending" or not backoff.sleep():
                        raise

    def _find(self, url: str, name: str, until: float) -> UUID:
        backoff = Backoff(until)
        while True:
            known = self.foreign_images.find(name)
            if known and known.is_long_unused:
                self.foreign_images.touch(name)
            if known and known.is_fresh and known.failure:
                raise NotFound(known.failure, code=known.failure_code or "source_unreachable")
            if known and known.is_fresh and known.image and known.is_there:
                return known.image
            if claim := self.foreign_images.claim(name, _CLAIM_SECONDS):
                return self._fetch(url, name, known, claim)
            if known and known.image and known.is_there:
                return known.image  # while another process asks whether it has changed
            if not backoff.sleep():
                raise Unavailable("The foreign image is still being fetched", code="source_pending", retry_after=2)

    def _fetch(self, url: str, name: str, known: ForeignImage | None, claim: UUID) -> UUID:
        from shared_lib.foreign import Validators  # noqa: PLC0415  only what delivers needs it

        usable = known if known and known.image and known.is_there else None
        validators = Validators(usable.etag, usable.last_modified) if usable else Validators()
        try:
            found = self.sources.fetch(url, validators)
            if found is None and usable and usable.image:
                self.foreign_images.record(name, claim, usable, self.fresh_seconds)
                return usable.image
            if found is not None and not found.data:
                raise NotFound("The foreign file is empty", code="source_empty")
            if found is not None and sniff(found.data) is None:
                raise NotFound("The foreign file is no image of a known format", code="image_failed")
        except ServiceError as error:
            log.info("foreign_image_not_fetched", code=error.code, reason=error.public)
            return self._keep_or_fail(name, usable, claim, error)
        if found is None:
            return self._keep_or_fail(name, usable, claim, Unavailable("The image's server contradicts itself"))
        try:
            uuid = self.ingestion.ingest(_name(url), None, found.data, "application/octet-stream")
        except BaseException:
            with suppress(Unavailable):  # then it ends by itself
                self.foreign_images.release(name, claim)
            raise
        seen = ForeignImage(
            uuid, found.validators.etag, found.validators.last_modified, None, None, is_fresh=True, is_there=True
        )
        if not self.foreign_images.record(name, claim, seen, self.fresh_seconds):
            self.images.delete(uuid)
            raise Unavailable("The foreign image is still being fetched", code="source_pending", retry_after=2)
        if usable and usable.image:
            self.images.delete(usable.image)  # its renditions, and caches, forget it
        log.info("foreign_image_fetched", image=f"{uuid}", bytes=len(found.data))
        return uuid

    def _keep_or_fail(self, name: str, usable: ForeignImage | None, claim: UUID, error: ServiceError) -> UUID:
        """Return the image as it was, if there is one. Otherwise remember the failure for a moment, and raise it."""
        if usable and usable.image:
            self.foreign_images.record(name, claim, usable, _FAILED_SECONDS)
            return usable.image
        failed = ForeignImage(None, None, None, error.public, error.code, is_fresh=True, is_there=False)
        self.foreign_images.record(name, claim, failed, _FAILED_SECONDS)
        raise error


def _name(url: str) -> str:
    """Return a filename for a URL."""
    last = unquote(urlsplit(url).path).rpartition("/")[2]
    printable = "".join(each for each in last if each.isprintable() and each not in '\\/:*?"<>|')
    return printable[-100:] or "foreign"
