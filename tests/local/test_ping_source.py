import threading
import time
from collections.abc import Callable

from local.sink import Sink

from infra.local.manifests import PingSource
from infra.local.ping_source import PingSourceRunner


def test_a_ping_source_sends_an_event_at_each_time_of_its_schedule(make_sink: Callable[..., Sink]) -> None:
    sink, stopping = make_sink(), threading.Event()
    source = PingSource.model_validate(
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
    runner = PingSourceRunner(source, sink.url, stopping)
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
