from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from infra.local.manifests import Delivery, Manifests
from infra.local.settings import CannotStart

ROOT = Path(__file__).parents[2]
SOURCE = """
apiVersion: sources.knative.dev/v1
kind: KafkaSource
metadata: {name: source}
spec:
  bootstrapServers: [kafka:9092]
  topics: [topic]
  consumerGroup: group
  sink:
    ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: sink}
"""


def delivery_of(folder: Path) -> Delivery:
    [source] = Manifests.read(folder).kafka_sources
    return source.spec.delivery


def test_delivery_that_is_left_out_has_knatives_defaults(manifest_folder: Callable[..., Path]) -> None:
    delivery = delivery_of(manifest_folder(source=SOURCE))
    assert (delivery.retry, delivery.backoff_policy) == (10, "exponential")
    assert (delivery.backoff_delay, delivery.timeout) == (timedelta(seconds=0.3), timedelta(seconds=600))


def test_delivery_that_is_given_replaces_the_defaults_wholesale(manifest_folder: Callable[..., Path]) -> None:
    sink = "{ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: dead}}"
    delivery = delivery_of(manifest_folder(source=f"{SOURCE}  delivery: {{deadLetterSink: {sink}}}\n"))
    assert (delivery.retry, delivery.backoff_delay) == (0, timedelta(seconds=0.2))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"{SOURCE}  replicas: 3\n", "spec.replicas"),
        (f"{SOURCE}  ordering: sometimes\n", "spec.ordering"),
        (f"{SOURCE}  delivery: {{backoffDelay: soon}}\n", "spec.delivery.backoffDelay"),
        ("kind: Broker\n", "Broker"),
        ("kind: [\n", "not YAML"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, complaint: str, manifest_folder: Callable[..., Path]) -> None:
    with pytest.raises(CannotStart, match=complaint):
        Manifests.read(manifest_folder(source=text))


def test_every_function_has_a_service_and_every_service_a_function() -> None:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/main.py")}
    assert {service.folder for service in Manifests.read(ROOT / "infra/knative").services} == folders


def test_threads_answer_the_concurrency_that_the_service_promises() -> None:
    stated = [service for service in Manifests.read(ROOT / "infra/knative").services if service.environ]
    assert {service.name: service.environ["THREADS"] for service in stated} == {
        service.name: f"{service.spec.template.spec.container_concurrency}" for service in stated
    }


def test_an_event_outlives_the_lease_of_a_dead_worker_and_not_two_minutes_more() -> None:
    [source] = Manifests.read(ROOT / "infra/knative").kafka_sources
    delivery = source.spec.delivery
    waits = [delivery.backoff_delay.total_seconds() * 2**nth for nth in range(1, delivery.retry + 1)]
    assert sum(waits[:-1]) > 20
    assert 60 < sum(waits) < 150
