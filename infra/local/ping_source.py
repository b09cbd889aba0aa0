"""Run a PingSource: send an event at each time of a schedule."""

import logging
import threading
import uuid
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from croniter import croniter

from infra.local.cloud_event import CloudEvent
from infra.local.delivery import Dispatcher, PendingEvent, Policy
from infra.local.manifests import PingSource

log = logging.getLogger(__name__)


class PingSourceRunner(threading.Thread):
    """Send the event of one PingSource by its schedule. A slow response does not delay the next event."""

    def __init__(self, source: PingSource, sink: str, stopping: threading.Event) -> None:
        super().__init__(name=source.metadata.name)
        self._source = source
        self._sink = sink
        self._stopping = stopping
        self._dispatcher = Dispatcher(Policy.of_ping_source(), concurrency=2)

    def run(self) -> None:
        spec = self._source.spec
        times = croniter(spec.schedule, datetime.now(ZoneInfo(spec.timezone)), second_at_beginning=True)
        while not self._stopping.wait((times.get_next(datetime) - datetime.now(UTC)).total_seconds()):
            self._dispatcher.send(PendingEvent(self._event(), self._sink, None, done=lambda: None))
        self._dispatcher.close(grace_seconds=3.0)

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
