"""One upload is one trace, from the request to the completed event, also through a retry. Counts are exported, too."""

import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import requests
from kafka import KafkaConsumer
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from otlp import Receiver
from prometheus_client.parser import text_string_to_metric_families
from service import (
    ENVIRONMENT,
    ROOT,
    Platform,
    find_consumers,
    find_free_port,
    find_port,
    find_processes,
    make_photo,
    start_platform,
    wait_for,
)

from shared_lib.otlp import FLUSH_SECONDS


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


@pytest.fixture(scope="module")
def traced(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A service of its own that exports its traces and counts."""
    data = tmp_path_factory.mktemp("traced")
    running = start_platform(
        data,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_METRIC_EXPORT_INTERVAL="1000",
        OTEL_TRACES_SAMPLER_ARG="1",
        PROCESSING_PENDING_GRACE_SECONDS="1",
        S3_TIMEOUT_SECONDS="1",
    )
    yield running
    running.stop()


def upload(platform: Platform, **headers: str) -> tuple[str, str]:
    """Return the image and the trace."""
    response = requests.post(
        f"{platform.url}/api/v1/images/actions/upload",
        files={"file": ("a.jpg", make_photo(), "image/jpeg")},
        headers=headers,
        timeout=30,
    )
    assert response.status_code == 200
    return response.json()["data"]["uuid"], response.headers["X-Trace-Id"]


def await_completion(receiver: Receiver, trace: str) -> dict[bytes, Span]:
    """Return the trace's spans, once its request, its last event, and all their parents have arrived.

    Each process sends its spans within a second, so a child may come first.
    """

    def is_complete(spans: dict[bytes, Span]) -> bool:
        names = {each.name for each in spans.values() if each.status.code != Status.STATUS_CODE_ERROR}
        wanted = {"POST /api/v1/images/actions/upload", "send image-completed", "process process_image"}
        return wanted <= names and list_orphans(spans) == []

    return wait_for(lambda: receiver.find(trace), is_complete, 90)


def assert_no_gap(spans: dict[bytes, Span]) -> None:
    [root] = find_roots(spans)
    assert (root.name, root.kind) == ("POST /api/v1/images/actions/upload", Span.SPAN_KIND_SERVER)
    assert list_orphans(spans) == []


def list_orphans(spans: dict[bytes, Span]) -> list[str]:
    """Return the names of spans without a parent, other than of requests."""
    return [
        each.name for each in spans.values() if each.kind != Span.SPAN_KIND_SERVER and each.parent_span_id not in spans
    ]


def test_an_upload_is_one_trace_from_the_request_to_the_completed_event(traced: Platform, receiver: Receiver) -> None:
    uuid, trace = upload(traced)

    spans = await_completion(receiver, trace)

    assert_no_gap(spans)
    kinds = {each.name: each.kind for each in spans.values()}
    assert kinds["send image-tasks"] == kinds["send image-completed"] == Span.SPAN_KIND_PRODUCER
    assert kinds["process process_image"] == Span.SPAN_KIND_CONSUMER
    assert kinds["PUT completed-images"] == kinds["transaction"] == Span.SPAN_KIND_CLIENT
    assert kinds["render"] == Span.SPAN_KIND_INTERNAL
    with KafkaConsumer(
        "image-completed",
        bootstrap_servers=traced.environment["KAFKA_BOOTSTRAP_SERVERS"],
        auto_offset_reset="earliest",
        consumer_timeout_ms=10_000,
    ) as consumer:
        headers = next(dict(message.headers) for message in consumer if message.key == uuid.encode())
    _, its_trace, its_span, _ = headers["ce_traceparent"].decode().split("-")
    assert its_trace == trace
    assert spans[bytes.fromhex(its_span)].name == "send image-completed"


def test_a_retry_belongs_to_the_same_trace(traced: Platform, receiver: Receiver) -> None:
    consumers = find_consumers(traced)
    stores = find_processes(traced, name="weed")
    consumers.suspend()
    try:
        _, trace = upload(traced)
        time.sleep(3)  # the event waits at the processor
        for store in stores:
            store.send_signal(signal.SIGSTOP)
        consumers.resume()
        wait_for(
            lambda: receiver.find(trace).values(),
            lambda spans: any(each.status.code == Status.STATUS_CODE_ERROR for each in spans),
        )
    finally:
        consumers.resume()
        for store in stores:
            store.send_signal(signal.SIGCONT)

    spans = await_completion(receiver, trace)

    assert_no_gap(spans)
    attempts = [each.status.code for each in spans.values() if each.name == "process process_image"]
    assert Status.STATUS_CODE_ERROR in attempts
    assert Status.STATUS_CODE_UNSET in attempts


def find_named(spans: dict[bytes, Span], name: str) -> list[Span]:
    return [each for each in spans.values() if each.name == name]


def find_roots(spans: dict[bytes, Span]) -> list[Span]:
    return [each for each in spans.values() if not each.parent_span_id]


def test_what_reconciliation_requests_again_belongs_to_the_same_trace(traced: Platform, receiver: Receiver) -> None:
    [source] = find_processes(traced, module="infra.local.eventing")
    reconciler = f"http://127.0.0.1:{find_port(find_consumers(traced))}/reconcile-images"
    tick = {"ce-specversion": "1.0", "ce-id": "tick", "ce-source": "/test", "ce-type": "dev.knative.sources.ping"}

    def request_again() -> list[Span]:
        requests.post(reconciler, json={"scope": "recent"}, headers=tick, timeout=60).raise_for_status()
        return find_named(receiver.find(trace), "request image again")

    source.suspend()
    try:
        _, trace = upload(traced)  # its event waits at the event source
        again, *_ = wait_for(request_again, bool, 60)
    finally:
        source.resume()

    spans = await_completion(receiver, trace)

    assert_no_gap(spans)
    assert len(find_named(spans, "send image-tasks")) >= 2
    cause = again.links[0].trace_id.hex()
    assert find_named(receiver.find(cause), "process reconcile_images")
    lines = [line for line in traced.log.read_text().splitlines() if "image_succeeded" in line and trace in line]
    assert len(lines) == 1


def test_an_upload_to_the_store_is_processed_in_the_trace_of_its_request(traced: Platform, receiver: Receiver) -> None:
    response = requests.get(f"{traced.url}/api/v1/images/actions/upload-url?extension=jpg", timeout=10)
    trace = response.headers["X-Trace-Id"]
    url = response.json()["presignedUrl"]
    assert requests.put(url, make_photo(), headers={"Content-Type": "image/jpeg"}, timeout=10).status_code == 200

    def is_complete(spans: dict[bytes, Span]) -> bool:
        return bool(find_named(spans, "send image-completed")) and bool(find_roots(spans)) and not list_orphans(spans)

    spans = wait_for(lambda: receiver.find(trace), is_complete)

    [root] = find_roots(spans)
    assert root.name == "GET /api/v1/images/actions/upload-url"
    [processing] = find_named(spans, "process image")
    assert find_named(receiver.find(processing.links[0].trace_id.hex()), "process process_image")


def test_the_caller_decides_whether_a_trace_is_recorded(traced: Platform, receiver: Receiver) -> None:
    parent = secrets.token_hex(8)
    theirs, quiet = secrets.token_hex(16), secrets.token_hex(16)
    assert upload(traced, traceparent=f"00-{quiet}-{parent}-00")[1] == quiet
    assert upload(traced, traceparent=f"00-{theirs}-{parent}-01")[1] == theirs

    spans = await_completion(receiver, theirs)

    [first] = [each for each in spans.values() if each.parent_span_id.hex() == parent]
    assert first.kind == Span.SPAN_KIND_SERVER
    assert receiver.find(quiet) == {}


def test_no_span_has_a_filename_or_a_secret(traced: Platform, receiver: Receiver) -> None:
    uuid, trace = upload(traced)
    spans = await_completion(receiver, trace)

    shown = str([*spans.values()])
    assert "a.jpg" not in shown
    assert traced.environment["S3_SECRET_ACCESS_KEY"] not in shown
    assert uuid not in shown


def test_exported_counts_are_those_that_are_scraped(traced: Platform, receiver: Receiver) -> None:
    def scrape() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        text = requests.get(f"{traced.url}/_/metrics", timeout=10).text
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.endswith(("_count", "_total")) and not sample.name.startswith("process_")
        }

    headers = {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}
    refused = requests.get(f"{traced.url}/?{'x' * 50_000}", headers=headers, timeout=10)  # reaches no function
    assert (refused.status_code, refused.headers["X-Trace-Id"]) == (414, headers["traceparent"].split("-")[1])
    assert requests.get(f"{traced.url}/api/v1/images", timeout=10).status_code == 200

    counted, _ = wait_for(lambda: (scrape(), receiver.read()), lambda seen: seen[0] in seen[1])

    assert receiver.services == {"image-processing"}
    assert {"http_server_request_duration_seconds_count", "http_server_refusals_total"} <= {name for name, _ in counted}


def test_the_last_spans_and_counts_are_sent_before_the_process_ends(traced: Platform, receiver: Receiver) -> None:
    response = requests.get(f"{traced.url}/api/v1/images/x", timeout=10)

    assert traced.stop() == 0
    assert [
        each.name for each in receiver.find(response.headers["X-Trace-Id"]).values() if not each.parent_span_id
    ] == ["GET /api/v1/images/{uuid}"]
    refused = (
        "http_server_request_duration_seconds_count",
        (("function", "get_image"), ("http_request_method", "GET"), ("http_response_status_code", "400")),
    )
    assert sum(values.get(refused, 0) for values in receiver.read()) == 1


def test_a_collector_that_never_answers_delays_neither_a_request_nor_the_end(platform: Platform) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = find_free_port()
        environ = (
            ENVIRONMENT
            | platform.environment
            | {
                "HOST": "127.0.0.1",
                "PORT": f"{port}",
                "FUNCTION_TARGET": "main",
                "FUNCTION_SOURCE": f"{ROOT / 'functions/get_health/main.py'}",
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
                "OTEL_METRIC_EXPORT_INTERVAL": "100",
            }
        )
        process = subprocess.Popen([sys.executable, "-m", "shared_lib.server"], cwd=ROOT, env=environ)

        def ask() -> int:
            try:
                return requests.get(f"http://127.0.0.1:{port}/api/health/live", timeout=2).status_code
            except requests.ConnectionError:
                return 0

        wait_for(ask, lambda status: status == 200)
        connection, _ = silent.accept()  # it is exporting by now
        with connection:
            assert ask() == 200
            process.terminate()
            assert process.wait(FLUSH_SECONDS + 10) == 0
