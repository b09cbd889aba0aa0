"""A receiver of traces and metrics by OTLP over HTTP."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Receiver(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []
        self.services: set[str] = set()
        self.metrics: dict[str, list[Metric]] = {}
        """The last that each instance sent."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def find(self, trace: str) -> dict[bytes, Span]:
        return {each.span_id: each for each in self.spans if each.trace_id.hex() == trace}

    def read(self) -> list[Values]:
        """Return the counts of each instance, with names and labels as Prometheus makes them of OpenTelemetry's."""
        return [_read(sent) for sent in self.metrics.values()]

    def close(self) -> None:
        self.shutdown()
        self.server_close()


def _read(sent: list[Metric]) -> Values:
    found: Values = {}
    for metric in sent:
        name = metric.name.replace(".", "_")
        for bucketed in metric.histogram.data_points:
            found[f"{name}_seconds_count", _label(bucketed.attributes)] = bucketed.count
        for number in metric.sum.data_points:
            found[f"{name}_total", _label(number.attributes)] = number.as_int
    return found


def _label(attributes: "list[KeyValue]") -> tuple[tuple[str, str], ...]:
    return tuple(sorted(_read_attribute(each) for each in attributes))


def _read_attribute(each: KeyValue) -> tuple[str, str]:
    value = each.value.string_value if each.value.HasField("string_value") else f"{each.value.int_value}"
    return each.key.replace(".", "_"), value


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            for traced in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.server.spans += [span for scope in traced.scope_spans for span in scope.spans]
        else:
            assert self.path == "/v1/metrics"
            for counted in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                resource = dict(map(_read_attribute, counted.resource.attributes))
                self.server.services.add(resource["service_name"])
                instance = resource.get("service_instance_id", "")
                self.server.metrics[instance] = [each for scope in counted.scope_metrics for each in scope.metrics]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_line: object) -> None:
        """Log nothing."""
