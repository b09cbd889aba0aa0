import itertools
import threading
import time
from collections.abc import Callable

import pytest
from local.sink import Sink

from infra.local.manifests import PingSource
from infra.local.ping_source import PingSourceRunner

EVERY_SECOND = PingSource.model_validate(
    {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "PingSource",
        "metadata": {"name": "ping"},
        "spec": {
            "schedule": "* * * * * *",
            "contentType": "application/json",
            "data": '{"scope":"recent"}',
            "sink": {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "sink"}},
        },
    }
)


def test_a_ping_source_sends_an_event_at_each_time_of_its_schedule(make_sink: Callable[..., Sink]) -> None:
    sink, stopping = make_sink(), threading.Event()
    runner = PingSourceRunner(EVERY_SECOND, sink.url, stopping)
    runner.start()
    first, second = sink.await_requests(2)[:2]
    stopping.set()
    runner.join()
    assert abs(time.time() - time.monotonic() + second.at - round(time.time() - time.monotonic() + second.at)) < 0.3
    assert 0.7 < second.at - first.at < 1.3
    assert first.headers["ce-type"] == "dev.knative.sources.ping"
    assert first.headers["ce-source"] == "/apis/v1/namespaces/image-processing/pingsources/ping"
    assert first.headers["content-type"] == "application/json"
    assert first.headers["ce-id"] != second.headers["ce-id"]
    assert first.body == b'{"scope":"recent"}'


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumps_neither_stops_the_events_nor_sends_many_at_once(
    make_sink: Callable[..., Sink], hours: int
) -> None:
    sink, stopping = make_sink(), threading.Event()
    shift = 0.0
    runner = PingSourceRunner(EVERY_SECOND, sink.url, stopping, now=lambda: time.time() + shift)
    runner.start()
    sink.await_requests(2)
    shift = hours * 3600.0
    before = len(sink.requests)
    time.sleep(4)
    stopping.set()
    runner.join()

    times = [request.at for request in sink.requests]
    assert 3 <= len(times) - before <= 5
    assert all(later - earlier > 0.4 for earlier, later in itertools.pairwise(times))
