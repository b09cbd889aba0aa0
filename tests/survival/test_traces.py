"""One upload is one trace, from the request to the completed event, also through a retry."""

import secrets
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from kafka import KafkaConsumer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from service import Platform, find_processes, make_photo, start_platform, wait_for


class Receiver(ThreadingHTTPServer):
    """Collects spans sent by OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def find(self, trace: str) -> dict[bytes, Span]:
        return {each.span_id: each for each in self.spans if each.trace_id.hex() == trace}

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip  # noqa: PLC0415  only then

            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.spans += [span for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_line: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


@pytest.fixture(scope="module")
def traced(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A service of its own that exports its traces."""
    data = tmp_path_factory.mktemp("traced")
    endpoint = f"http://127.0.0.1:{receiver.server_port}"
    running = start_platform(data, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, S3_TIMEOUT_SECONDS="1")
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
    """Return the trace's spans, once its request and its last event have arrived."""

    def is_complete(spans: dict[bytes, Span]) -> bool:
        return {"POST /api/v1/images/actions/upload", "send image-completed", "process process_image"} <= {
            each.name for each in spans.values() if each.status.code != Status.STATUS_CODE_ERROR
        }

    return wait_for(lambda: receiver.find(trace), is_complete, 90)


def assert_no_gap(spans: dict[bytes, Span]) -> None:
    [root] = [each for each in spans.values() if not each.parent_span_id]
    assert (root.name, root.kind) == ("POST /api/v1/images/actions/upload", Span.SPAN_KIND_SERVER)
    assert [each.name for each in spans.values() if each is not root and each.parent_span_id not in spans] == []


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
    [processor] = find_processes(traced, service="process-image")[:1]
    stores = find_processes(traced, name="weed")
    processor.send_signal(signal.SIGSTOP)
    try:
        _, trace = upload(traced)
        time.sleep(3)  # the event waits at the processor
        for store in stores:
            store.send_signal(signal.SIGSTOP)
        processor.send_signal(signal.SIGCONT)
        wait_for(
            lambda: receiver.find(trace).values(),
            lambda spans: any(each.status.code == Status.STATUS_CODE_ERROR for each in spans),
        )
    finally:
        processor.send_signal(signal.SIGCONT)
        for store in stores:
            store.send_signal(signal.SIGCONT)

    spans = await_completion(receiver, trace)

    assert_no_gap(spans)
    attempts = [each.status.code for each in spans.values() if each.name == "process process_image"]
    assert Status.STATUS_CODE_ERROR in attempts
    assert Status.STATUS_CODE_UNSET in attempts


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


def test_the_last_spans_are_sent_before_the_process_ends(traced: Platform, receiver: Receiver) -> None:
    response = requests.get(f"{traced.url}/api/v1/images", timeout=10)

    assert traced.stop() == 0
    assert [
        each.name for each in receiver.find(response.headers["X-Trace-Id"]).values() if not each.parent_span_id
    ] == ["GET /api/v1/images"]
