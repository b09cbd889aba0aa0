"""The checks of these tests fail for broken objects."""

import copy

import pytest
from deploy.cluster import Object, overlay, pods, put
from deploy.pod_security import violations
from deploy.strict_schema import schema_errors

KINDS = sorted({each["kind"] for name in ("local", "production") for each in overlay(name)})


def of(kind: str) -> Object:
    found = [each for name in ("local", "production") for each in overlay(name) if each["kind"] == kind]
    return copy.deepcopy(found[-1])  # either kind of Service will do


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["nonsense", "metadata.nonsense"])
def test_an_unknown_field_is_an_error(kind: str, place: str) -> None:
    thing = of(kind)
    assert schema_errors(thing) == []

    put(thing, place, value=True)
    assert schema_errors(thing)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("KafkaSource", "spec.delivery.retries", 3),
        ("KafkaSource", "spec.resources", {}),
        ("KafkaSource", "spec.consumers", "3"),
        ("PingSource", "spec.delivery", {}),
        ("HTTPRoute", "spec.rules.0.backendRefs.0.port", "80"),
        ("HTTPRoute", "spec.rules.0.matches", [{"path": {"type": "Regex", "value": "/"}}]),
        ("StatefulSet", "spec.template.spec.containers.0.volumeMount", []),
        ("Job", "spec.backoff", 1),
        ("NetworkPolicy", "spec.ingress", [{"form": []}]),
    ],
)
def test_an_invalid_field_is_an_error(kind: str, path: str, value: object) -> None:
    thing = of(kind)

    put(thing, path, value)
    assert schema_errors(thing)


def test_an_invalid_field_of_a_knative_service_is_an_error() -> None:
    [service] = [each for each in overlay("local") if each["metadata"]["name"] == "process-image"]
    for invalid in ({"containerConcurency": 2}, {"timeoutSeconds": "130"}, {"nodeName": "here"}):
        broken = copy.deepcopy(service)
        broken["spec"]["template"]["spec"] |= invalid
        assert schema_errors(broken), invalid


@pytest.mark.parametrize(
    "change",
    [
        {"securityContext": {}},
        {"securityContext": {"privileged": True}},
        {"ports": [{"containerPort": 1, "hostPort": 1}]},
        {"readinessProbe": {"httpGet": {"host": "example.com", "port": 80}}},
    ],
)
def test_an_unrestricted_container_is_a_violation(change: Object) -> None:
    specification = copy.deepcopy(pods(overlay("local"))["Service process-image"])
    assert violations(specification) == []

    specification["containers"][0] |= change
    assert violations(specification)


@pytest.mark.parametrize(
    "change",
    [{"hostNetwork": True}, {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}, {"initContainers": [{}]}],
)
def test_an_unrestricted_pod_is_a_violation(change: Object) -> None:
    specification = copy.deepcopy(pods(overlay("local"))["Service process-image"]) | change

    assert violations(specification)
