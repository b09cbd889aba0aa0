"""Run a PingSource: send an event at each time of a schedule."""

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from croniter import croniter

from infra.local.cloud_event import CloudEvent
from infra.local.delivery import Dispatcher, PendingEvent, Policy
from infra.local.manifests import PingSource

log = logging.getLogger(__name__)

CLOCK_TOLERANCE_SECONDS = 0.5  # less than the shortest schedule's second
LATE_SECONDS = 60.0


class PingSourceRunner(threading.Thread):
    """Send the event of one PingSource by its schedule. A slow response does not delay the next event."""

    def __init__(
        self, source: PingSource, sink: str, stopping: threading.Event, now: Callable[[], float] = time.time
    ) -> None:
        """`now` is the wall clock."""
        super().__init__(name=source.metadata.name)
        self._source = source
        self._sink = sink
        self._stopping = stopping
        self._now = now
        self._dispatcher = Dispatcher(Policy.of_ping_source(), concurrency=2)
        self._due = math.inf  # on the monotonic clock

    @property
    def is_late(self) -> bool:
        """True if its thread hangs."""
        return time.monotonic() > self._due + LATE_SECONDS

    def run(self) -> None:
        """Wait on the monotonic clock, and look at the wall clock only to see how long.

        So a wall clock that is set back or forward moves one event by less than the time between two.
        """
        due = self._now()
        while True:
            now = self._now()
            # The two clocks differ a little: what was due a moment ahead has just been sent.
            due = self._find_next(due if abs(due - now) < CLOCK_TOLERANCE_SECONDS else now)
            self._due = time.monotonic() + due - now
            if self._stopping.wait(due - now):
                break
            self._dispatcher.send(PendingEvent(self._event(), self._sink, None, done=lambda: None))
        self._dispatcher.close(grace_seconds=3.0)

    def _find_next(self, after: float) -> float:
        spec = self._source.spec
        start = datetime.fromtimestamp(after, ZoneInfo(spec.timezone))
        return float(croniter(spec.schedule, start, second_at_beginning=True).get_next(float))

    def _event(self) -> CloudEvent:
        spec, metadata = self._source.spec, self._source.metadata
        attributes = {
            "specversion": "1.0",
            "type": "dev.knative.sources.ping",
            "source": f"/apis/v1/namespaces/{metadata.namespace}/pingsources/{metadata.name}",
            "id": f"{uuid.uuid4()}",
            "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            **spec.ce_overrides.extensions,
        }
        if spec.content_type:
            attributes["datacontenttype"] = spec.content_type
        return CloudEvent(attributes, spec.data.encode())
