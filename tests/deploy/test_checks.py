"""A check that cannot fail proves nothing: each is shown something broken."""

import copy

import pytest
from deploy.cluster import Object, overlay, pods, put
from deploy.pod_security import violations
from deploy.strict_schema import complaints

KINDS = sorted({each["kind"] for name in ("local", "production") for each in overlay(name)})


def of(kind: str) -> Object:
    found = [each for name in ("local", "production") for each in overlay(name) if each["kind"] == kind]
    return copy.deepcopy(found[-1])  # of the two kinds of Service, it does not matter which


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["nonsense", "metadata.nonsense"])
def test_a_field_that_no_object_has_is_found(kind: str, place: str) -> None:
    thing = of(kind)
    assert complaints(thing) == []

    put(thing, place, value=True)
    assert complaints(thing)


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
def test_a_wrong_field_is_found(kind: str, path: str, value: object) -> None:
    thing = of(kind)

    put(thing, path, value)
    assert complaints(thing)


def test_a_wrong_field_of_a_knative_service_is_found() -> None:
    [service] = [each for each in overlay("local") if each["metadata"]["name"] == "process-image"]
    for wrong in ({"containerConcurency": 2}, {"timeoutSeconds": "130"}, {"nodeName": "here"}):
        broken = copy.deepcopy(service)
        broken["spec"]["template"]["spec"] |= wrong
        assert complaints(broken), wrong


@pytest.mark.parametrize(
    "change",
    [
        {"securityContext": {}},
        {"securityContext": {"privileged": True}},
        {"ports": [{"containerPort": 1, "hostPort": 1}]},
        {"readinessProbe": {"httpGet": {"host": "example.com", "port": 80}}},
    ],
)
def test_a_container_that_is_not_restricted_is_found(change: Object) -> None:
    specification = copy.deepcopy(pods(overlay("local"))["Service process-image"])
    assert violations(specification) == []

    specification["containers"][0] |= change
    assert violations(specification)


@pytest.mark.parametrize(
    "change",
    [{"hostNetwork": True}, {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}, {"initContainers": [{}]}],
)
def test_a_pod_that_is_not_restricted_is_found(change: Object) -> None:
    specification = copy.deepcopy(pods(overlay("local"))["Service process-image"]) | change

    assert violations(specification)
