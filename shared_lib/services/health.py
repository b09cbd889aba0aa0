"""Whether what we depend on does its work: asked seldom, however often a probe or a stranger wants to know."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

from shared_lib import background
from shared_lib.errors import ServiceError, Unavailable
from shared_lib.observability import get_logger, log_failure

log = get_logger()

PATIENCE_SECONDS = 3  # less than that of the usual probe
FRESH_SECONDS = 1  # how long an answer is given again


@dataclass
class _Part:
    name: str
    ping: Callable[[], None]
    asking: threading.Lock = field(default_factory=threading.Lock)
    asked_at: float = float("-inf")
    answer: "Future[None] | None" = None
    well: bool = True

    def ask(self) -> "Future[None]":
        """The last answer while it is fresh; one that is still awaited, however long ago it was asked for."""
        with self.asking:
            if self.answer is None or (self.answer.done() and time.monotonic() - self.asked_at > FRESH_SECONDS):
                self.asked_at = time.monotonic()
                self.answer = background.start(self._ping, f"health-{self.name}")
            return self.answer

    def _ping(self) -> None:
        try:
            self.ping()
        except ServiceError as error:
            if self.well:
                log_failure(log, "part_failed", error, part=self.name)
            self.well = False
            raise
        if not self.well:
            log.info("part_recovered", part=self.name)
        self.well = True


class Health:
    def __init__(self, pings: Mapping[str, Callable[[], None]]) -> None:
        """Each ping raises a ServiceError, or returns."""
        self._parts = [_Part(name, ping) for name, ping in pings.items()]

    def check(self) -> None:
        """Raises Unavailable that names each part which does not do its work, or not within `PATIENCE_SECONDS`."""
        answers = [(part, part.ask()) for part in self._parts]
        for part, answer in answers:
            wait([answer], timeout=max(part.asked_at + PATIENCE_SECONDS - time.monotonic(), 0))
        failing = [(part.name, answer) for part, answer in answers if not _is_well(answer)]
        if failing:
            details = [{"parameter": name, "message": _describe(answer)} for name, answer in failing]
            names = ", ".join(name for name, _ in failing)
            raise Unavailable(f"Out of reach: {names}", code="out_of_reach", details=details)


def _is_well(answer: "Future[None]") -> bool:
    return answer.done() and answer.exception() is None


def _describe(answer: "Future[None]") -> str:
    error = answer.exception() if answer.done() else None
    return error.public if isinstance(error, ServiceError) else "does not answer"
