"""Read the stored images that recipes lay on others as watermarks."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from shared_lib.repositories.originals import Originals
from shared_lib.storage.buckets import Gallery


@dataclass(frozen=True)
class Overlays:
    originals: Originals
    gallery: Gallery

    def read(self, tenant: str, images: Iterable[UUID], max_bytes: int) -> dict[UUID, bytes]:
        """Return the originals of these images of a tenant, as many as have `max_bytes` together.

        Missing images are left out. The sandbox then fails the recipes that need them, and no others.
        """
        overlays = {}
        for image, key in self.originals.find(images, tenant).items():
            found = self.gallery.head(key)
            if found and found.size <= max_bytes and (data := self.gallery.read(key)) is not None:
                overlays[image] = data
                max_bytes -= len(data)
        return overlays
