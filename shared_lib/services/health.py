"""Check the services that we depend on. Results are shared, so frequent or public requests cost little."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

from shared_lib import background
from shared_lib.errors import ServiceError, Unavailable
from shared_lib.observability import get_logger, log_failure

log = get_logger()

TIMEOUT_SECONDS = 3  # less than the usual probe's
FRESH_SECONDS = 1  # how long a result is reused before the part is asked again
KEPT_SECONDS = 2  # how long it is reused while the part is asked again


@dataclass
class _Part:
    name: str
    ping: Callable[[], None]
    fresh_seconds: float
    kept_seconds: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    started_at: float = float("-inf")
    result: "Future[None] | None" = None
    known_at: float = float("-inf")
    known: "Future[None] | None" = None
    """The last result."""
    is_healthy: bool = True

    def check(self) -> "Future[None]":
        """Return the last result while it is kept, or else the check that is still running, however old.

        Who checks every second then never waits for a part.
        """
        with self.lock:
            now = time.monotonic()
            if self.result is None or self.result.done():
                self.known, self.known_at = self.result, self.started_at
                if self.result is None or now - self.started_at > self.fresh_seconds:
                    self.started_at = now
                    self.result = background.start(self._ping, f"health-{self.name}")
            return self.known if self.known and now - self.known_at <= self.kept_seconds else self.result

    def _ping(self) -> None:
        try:
            self.ping()
        except ServiceError as error:
            if self.is_healthy:
                log_failure(log, "part_failed", error, part=self.name)
            self.is_healthy = False
            raise
        if not self.is_healthy:
            log.info("part_recovered", part=self.name)
        self.is_healthy = True


class Health:
    def __init__(
        self,
        pings: Mapping[str, Callable[[], None]],
        *,
        fresh_seconds: float = FRESH_SECONDS,
        kept_seconds: float = KEPT_SECONDS,
    ) -> None:
        """Each ping raises a ServiceError, or returns."""
        self._fresh_seconds = fresh_seconds
        self._kept_seconds = kept_seconds
        self._parts: list[_Part] = []
        for name, ping in pings.items():
            self.watch(name, ping)

    def watch(self, name: str, ping: Callable[[], None]) -> None:
        """Check one more part."""
        self._parts.append(_Part(name, ping, self._fresh_seconds, self._kept_seconds))

    def check(self) -> None:
        """Raise Unavailable that names each part that fails, or doesn't respond within `TIMEOUT_SECONDS`."""
        results = [(part, part.check()) for part in self._parts]
        for part, result in results:
            wait([result], timeout=max(part.started_at + TIMEOUT_SECONDS - time.monotonic(), 0))
        failing = [(part.name, result) for part, result in results if not _is_healthy(result)]
        if failing:
            raise report_failing({name: _describe(result) for name, result in failing})


def report_failing(parts: Mapping[str, str]) -> Unavailable:
    """Return the error that names the failing parts, given a message for each."""
    details = [{"parameter": name, "message": message} for name, message in parts.items()]
    return Unavailable(f"Out of reach: {', '.join(parts)}", code="out_of_reach", details=details)


def _is_healthy(result: "Future[None]") -> bool:
    return result.done() and result.exception() is None


def _describe(result: "Future[None]") -> str:
    error = result.exception() if result.done() else None
    return error.public if isinstance(error, ServiceError) else "does not respond"
