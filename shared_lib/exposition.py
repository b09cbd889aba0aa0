"""Write metrics as Prometheus reads them. Only this module uses prometheus_client, and imports it at the first scrape.

A container is one process, so there is nothing to add up between processes.
"""

from collections.abc import Iterator, Mapping
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

from shared_lib.metrics import COUNTERS, HISTOGRAMS, Series, State, StateHistogram

if TYPE_CHECKING:
    from prometheus_client import Metric

Measured = Mapping[State, Mapping[tuple[str, ...], float]]
"""For each metric, the value by its labels' values."""
Distributed = Mapping[StateHistogram, Series]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def write_counted() -> bytes:
    """Return what this process has counted, and what the process itself uses."""
    from prometheus_client import ProcessCollector  # noqa: PLC0415  it would add 60 ms to each cold start

    return _write(_list_counted(), ProcessCollector)


def write_state(measured: Measured, distributed: Distributed) -> bytes:
    return _write(chain(_list_state(measured), _list_distributed(distributed)))


def _write(families: "Iterator[Metric]", *collectors: Any) -> bytes:  # noqa: ANN401  classes
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415  (same)
    from prometheus_client.registry import Collector  # noqa: PLC0415  (same)

    class Ours(Collector):
        def collect(self) -> "Iterator[Metric]":
            return families

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Ours())
    for each in collectors:
        each(registry=registry)
    written: bytes = generate_latest(registry)
    return written


def _list_counted() -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily  # noqa: PLC0415  (same)

    for histogram in HISTOGRAMS:
        family = HistogramMetricFamily(histogram.name, histogram.about, labels=histogram.labels)
        for labels, (counted, total) in histogram.read().items():
            family.add_metric([*map(str, labels)], _list_buckets(histogram.bounds, counted), total)
        yield family
    for counter in COUNTERS:
        counts = CounterMetricFamily(counter.name, counter.about, labels=counter.labels)
        for values, count in counter.read().items():
            counts.add_metric([*map(str, values)], count)
        yield counts


def _list_state(measured: Measured) -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415  (same)

    for state, values in measured.items():
        kind = CounterMetricFamily if state.is_total else GaugeMetricFamily
        family = kind(state.name, state.about, labels=state.labels)
        for labels, value in values.items():
            family.add_metric(labels, value)
        yield family


def _list_distributed(distributed: Distributed) -> "Iterator[Metric]":
    from prometheus_client.core import GaugeHistogramMetricFamily  # noqa: PLC0415  (same)

    for state, (counted, total) in distributed.items():
        yield GaugeHistogramMetricFamily(
            state.name, state.about, buckets=_list_buckets(state.bounds, counted), gsum_value=total
        )


def _list_buckets(bounds: tuple[float, ...], counted: tuple[int, ...]) -> list[tuple[str, float]]:
    return list(zip([*map(str, bounds), "+Inf"], accumulate(counted), strict=True))
