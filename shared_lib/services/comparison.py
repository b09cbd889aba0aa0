"""Compare the whole gallery with the database, over as many ticks as it takes.

On the way it adds up what each tenant has in it.
"""

from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared_lib.domain.uploads import StoredObject
from shared_lib.observability import get_logger
from shared_lib.repositories.drift import BULK, Drift, Pair
from shared_lib.repositories.image_queries import ImageQueries
from shared_lib.repositories.originals import Originals
from shared_lib.services.turns import LOOKED, Turn
from shared_lib.storage.buckets import Gallery

log = get_logger()


@dataclass(frozen=True)
class Comparison:
    drift: Drift
    image_queries: ImageQueries
    originals: Originals
    gallery: Gallery
    settling: timedelta = timedelta(hours=1)
    """Minimum age before an unreferenced object counts as an orphan: a worker may still be about to reference it."""

    def begin(self) -> None:
        """Begin a comparison, unless one is under way."""
        self.drift.begin_scan(self.gallery.name)

    def compare_gallery(self, turn: Turn) -> Generator[str]:
        """Delete objects that no row references. A referenced object that is missing can only be reported."""
        position = self.drift.read_position(self.gallery.name)
        if position is None:
            return
        sizes: Counter[str] = Counter()  # since the last advance, of what rows reference
        try:
            for count, each in enumerate(self.drift.compare(self.gallery.list(after=position), after=position), 1):
                position = each.key
                if each.found and each.is_referenced:
                    sizes[each.found.tenant] += each.found.size
                else:
                    yield from turn.attempt(self._resolve, each)
                if count % BULK == 0:
                    self.drift.advance_comparison(self.gallery.name, position, sizes)
                    sizes.clear()
                    yield LOOKED
            position = None
        finally:
            if position is not None:
                self.drift.advance_comparison(self.gallery.name, position, sizes)
        self.drift.end_comparison(self.gallery.name, sizes)
        yield "gallery_compared"

    def _resolve(self, difference: Pair) -> Iterator[str]:
        key, found, _ = difference
        if found is None:
            if self.gallery.head(key) is None and self.drift.is_published(key):
                log.error("object_missing", key=key)
                yield "object_missing"
        elif found.modified <= datetime.now(UTC) - self.settling and self._delete_orphan(found):
            yield "orphan_removed"

    def _delete_orphan(self, found: StoredObject) -> bool:
        """Return False if a row references the key by now, or a worker may make one do so by writing it again."""
        uuid = self.gallery.find_image(found.key)
        if uuid is None:
            return self.originals.release(found.key, self.gallery.delete)
        state = self.image_queries.get_state(uuid)
        in_progress = state is not None and not state.deleted and (state.held or not state.status.ended)
        if in_progress or self.drift.is_referenced(found.key):
            return False
        return self.gallery.delete_if_unchanged(found)
