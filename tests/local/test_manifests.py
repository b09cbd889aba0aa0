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


def test_without_a_delivery_block_knatives_defaults_apply(manifest_folder: Callable[..., Path]) -> None:
    delivery = delivery_of(manifest_folder(source=SOURCE))
    assert (delivery.retry, delivery.backoff_policy) == (10, "exponential")
    assert (delivery.backoff_delay, delivery.timeout) == (timedelta(seconds=0.3), timedelta(seconds=600))


def test_a_delivery_block_replaces_all_the_defaults(manifest_folder: Callable[..., Path]) -> None:
    sink = "{ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: dead}}"
    delivery = delivery_of(manifest_folder(source=f"{SOURCE}  delivery: {{deadLetterSink: {sink}}}\n"))
    assert (delivery.retry, delivery.backoff_delay) == (0, timedelta(seconds=0.2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{SOURCE}  replicas: 3\n", "spec.replicas"),
        (f"{SOURCE}  ordering: sometimes\n", "spec.ordering"),
        (f"{SOURCE}  delivery: {{backoffDelay: soon}}\n", "spec.delivery.backoffDelay"),
        ("kind: Broker\n", "Broker"),
        ("kind: [\n", "not YAML"),
    ],
)
def test_an_unsupported_manifest_is_an_error(text: str, message: str, manifest_folder: Callable[..., Path]) -> None:
    with pytest.raises(CannotStart, match=message):
        Manifests.read(manifest_folder(source=text))


def test_every_function_has_a_service_and_the_other_way_around() -> None:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/main.py")}
    assert {service.folder for service in Manifests.read(ROOT / "infra/knative").services} == folders


def test_retries_last_longer_than_a_lease_and_at_most_two_and_a_half_minutes() -> None:
    [source] = Manifests.read(ROOT / "infra/knative").kafka_sources
    delivery = source.spec.delivery
    waits = [delivery.backoff_delay.total_seconds() * 2**nth for nth in range(1, delivery.retry + 1)]
    assert sum(waits[:-1]) > 20
    assert 60 < sum(waits) < 150
