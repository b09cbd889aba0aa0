"""Export traces and metrics by OTLP over HTTP, in the background. Only this module uses OpenTelemetry.

A collector that is slow or out of reach delays no request: what it does not take in time is dropped. The end of the
process waits for it for FLUSH_SECONDS at most.
"""

import atexit
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from shared_lib import background, metrics, tracing
from shared_lib.observability import get_logger

if TYPE_CHECKING:
    from concurrent.futures import Future

log = get_logger()

NAME = "image-processing"
FLUSH_SECONDS = 3
"""Time that the last spans and counts get when the process ends."""
_SPANS_SECONDS = 1  # that a span waits for others to be sent with it
_NOTE_SECONDS = 60  # between two lines about a collector that fails

# Where OpenTelemetry's conventions have a name for a label. Prometheus would make our label of it again.
_ATTRIBUTES = {
    "http_request_method": "http.request.method",
    "http_response_status_code": "http.response.status_code",
    "messaging_destination_name": "messaging.destination.name",
}
_KINDS: dict[tracing.Kind, SpanKind] = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "internal": SpanKind.INTERNAL,
}
_ENTRIES = ("server", "consumer")  # kinds of spans whose parent is in another process
_UNSET, _FAILED = Status(), Status(StatusCode.ERROR)
_CUMULATIVE = AggregationTemporality.CUMULATIVE


def export(endpoint: str, interval: float, *, share: float) -> None:
    """Record spans and send them to `endpoint`/v1/traces, and metrics each `interval` seconds to `endpoint`/v1/metrics.

    `share` is that of traces which begin here. OpenTelemetry reads its variables about exporters itself.
    """
    _note_failures()
    resource = Resource.create({"service.name": NAME, "service.instance.id": f"{uuid.uuid4()}"})
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    spans = BatchSpanProcessor(exporter, schedule_delay_millis=_SPANS_SECONDS * 1000)
    tracing.record(_Recorder(resource, spans, ParentBased(TraceIdRatioBased(share))))

    counts = OTLPMetricExporter(endpoint=f"{endpoint.rstrip('/')}/v1/metrics")
    began, ends = time.time_ns(), threading.Event()

    def push() -> None:
        while not ends.wait(interval):
            counts.export(_collect(resource, began))
        counts.export(_collect(resource, began))
        spans.shutdown()  # type: ignore[no-untyped-call]  # OpenTelemetry leaves out some types

    atexit.register(_end, ends, background.start(push, "otlp"))


class _Recorder:
    def __init__(self, resource: Resource, spans: BatchSpanProcessor, sampler: Sampler) -> None:
        self._resource = resource
        self._spans = spans
        self._scope = InstrumentationScope(NAME)
        self._sampler = sampler

    def samples(self, trace: str, parent: str | None) -> bool:
        context = set_span_in_context(NonRecordingSpan(_read(parent, is_remote=True))) if parent else None
        decided = self._sampler.should_sample(context, int(trace, 16), "").decision
        return decided is Decision.RECORD_AND_SAMPLE

    def add(self, span: tracing.Span) -> None:
        self._spans.on_end(
            ReadableSpan(
                name=span.name,
                context=_read(span.traceparent),
                parent=_read(span.parent, is_remote=span.kind in _ENTRIES) if span.parent else None,
                resource=self._resource,
                attributes=span.attributes,
                links=[Link(_read(span.link))] if span.link else (),
                kind=_KINDS[span.kind],
                instrumentation_scope=self._scope,
                status=_FAILED if span.failed else _UNSET,
                start_time=span.began,
                end_time=span.ended,
            )
        )


def _read(traceparent: str, *, is_remote: bool = False) -> SpanContext:
    """OpenTelemetry's own parser takes as long as the rest of a span."""
    _, trace, span, flags = traceparent.split("-")
    return SpanContext(int(trace, 16), int(span, 16), is_remote, TraceFlags(int(flags, 16)))


def _end(ends: threading.Event, pushing: "Future[None]") -> None:
    ends.set()
    with suppress(TimeoutError):
        pushing.result(FLUSH_SECONDS)


def _collect(resource: Resource, began: int) -> MetricsData:
    scope = ScopeMetrics(scope=InstrumentationScope(NAME), metrics=[*_list_metrics(began)], schema_url="")
    return MetricsData([ResourceMetrics(resource=resource, scope_metrics=[scope], schema_url="")])


def _list_metrics(began: int) -> Iterator[Metric]:
    now = time.time_ns()
    for histogram in metrics.HISTOGRAMS:
        points = [
            HistogramDataPoint(
                attributes=_name_values(histogram.labels, labels),
                start_time_unix_nano=began,
                time_unix_nano=now,
                count=sum(counted),
                sum=total,
                bucket_counts=counted,
                explicit_bounds=histogram.bounds,
                min=None,  # type: ignore[arg-type]  # optional in the protocol, and we do not keep it
                max=None,  # type: ignore[arg-type]  # (same)
            )
            for labels, (counted, total) in histogram.read().items()
        ]
        data = Histogram(data_points=points, aggregation_temporality=_CUMULATIVE)
        yield Metric(name=_name(histogram.name, "_seconds"), description=histogram.about, unit="s", data=data)
    for counter in metrics.COUNTERS:
        numbers = [
            NumberDataPoint(_name_values(counter.labels, labels), began, now, count)
            for labels, count in counter.read().items()
        ]
        total = Sum(data_points=numbers, aggregation_temporality=_CUMULATIVE, is_monotonic=True)
        yield Metric(name=_name(counter.name, "_total"), description=counter.about, unit="1", data=total)


def _name(name: str, ending: str) -> str:
    """Return OpenTelemetry's form of a name. Prometheus adds the ending again."""
    return name.removesuffix(ending).replace("_", ".")


def _name_values(names: tuple[str, ...], labels: tuple[object, ...]) -> dict[str, str | int]:
    return {
        _ATTRIBUTES.get(name, name): value if isinstance(value, int) else f"{value}"
        for name, value in zip(names, labels, strict=True)
    }


def _note_failures() -> None:
    """Log what OpenTelemetry says as lines of ours. It would write text between them, one for each try."""
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(_Notes(logging.WARNING))
    logger.propagate = False


class _Notes(logging.Handler):
    _written_at = float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() - self._written_at > _NOTE_SECONDS:
            self._written_at = time.monotonic()
            log.warning("telemetry_not_exported", reason=record.getMessage())
