"""Have caches outside forget what was deleted or changed."""

import threading
from dataclasses import dataclass, field

from shared_lib.errors import ServiceError
from shared_lib.observability import get_logger, log_failure
from shared_lib.repositories.purges import Purges
from shared_lib.settings import PurgedCache

log = get_logger()

_CALLS = 20  # of a tick


@dataclass(frozen=True)
class Purging:
    purges: Purges
    caches: tuple[PurgedCache, ...]
    repeat_seconds: float
    """Longer than a rendition can be on its way."""
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False)

    def run(self) -> int:
        """Purge what is due, and return how many tags. A cache that fails gets them again, later and later.

        Caches that work get them again, too, which is harmless. If another thread does it, wait for that.
        """
        if not self.caches:
            self.purges.forget()
            return 0
        with self._lock:
            return self._purge_due()

    def _purge_due(self) -> int:
        from shared_lib.caches import MOST_TAGS  # noqa: PLC0415  only installations with a cache need it

        count = 0
        for _ in range(_CALLS):
            claimed = self.purges.claim(MOST_TAGS)
            if not claimed:
                break
            outcomes = [self._purge(cache, [each.tag for each in claimed]) for cache in self.caches]
            if all(outcomes):
                self.purges.record(claimed, self.repeat_seconds)
                count += len(claimed)
        return count

    def _purge(self, cache: PurgedCache, tags: list[str]) -> bool:
        from shared_lib.caches import purge  # noqa: PLC0415  (same)

        try:
            purge(cache, tags)
        except ServiceError as error:
            log_failure(log, "cache_not_purged", error, cache=cache.kind, tags=len(tags))
            return False
        log.info("cache_purged", cache=cache.kind, tags=len(tags))
        return True
