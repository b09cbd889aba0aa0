"""Delete what was kept for long enough: originals of failed images, and what no URL asks for any more."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import acting_for
from shared_lib.repositories.deliveries import Deliveries
from shared_lib.repositories.drift import Drift
from shared_lib.repositories.foreign_images import ForeignImages
from shared_lib.repositories.images import delete
from shared_lib.repositories.originals import Originals
from shared_lib.services.turns import LOOKED, Turn
from shared_lib.storage.buckets import Gallery


@dataclass(frozen=True)
class Retention:
    drift: Drift
    originals: Originals
    deliveries: Deliveries
    gallery: Gallery
    failed_days: int
    foreign_images: ForeignImages
    delivery_days: int
    """Days since its last use for which a rendition that URLs asked for is kept."""
    foreign_days: int
    """Days since its last use for which an image of another server is kept."""

    def expire_originals(self, turn: Turn) -> Generator[str]:
        """Delete originals of images that failed and were not tried again for long."""

        def repair(key: str) -> Iterator[str]:
            if self.originals.release(key, self.gallery.delete):
                yield "failed_original_removed"

        while keys := self.drift.expire_originals(self.failed_days, turn.batch):
            for key in keys:
                yield from turn.attempt(repair, key)

    def expire_deliveries(self, turn: Turn) -> Generator[str]:
        """Forget renditions that no URL has asked for in a long time. One that is asked for again is made again.

        Their objects are left to the comparison of the gallery, which deletes orphans: a worker may be storing the
        same rendition at this moment, for a request by name.
        """
        while turn.batch and (expired := self.deliveries.expire(self.delivery_days, turn.batch)):
            yield from ("delivery_expired" for _ in range(expired))
            yield LOOKED

    def expire_foreign_images(self, turn: Turn) -> Generator[str]:
        """Delete images of other servers that no URL has asked for in a long time. They are fetched again if one does.

        All of them are the default tenant's.
        """
        while turn.batch:
            with acting_for(DEFAULT_TENANT):
                expired = self.foreign_images.expire(self.foreign_days, turn.batch, delete)
            if not expired:
                return
            yield from ("foreign_image_expired" for _ in range(expired))
            yield LOOKED
