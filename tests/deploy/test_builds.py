"""Every overlay and every combination of components builds, and all their objects are valid."""

from pathlib import Path

import pytest
from deploy.cluster import COMBINATIONS, OVERLAYS, Object, combine, of_kind, overlay, pods, services, title
from deploy.pod_security import violations
from deploy.strict_schema import schema_errors


def problems(objects: list[Object]) -> list[str]:
    errors = [f"{title(each)}: {error}" for each in objects for error in schema_errors(each)]
    return errors + [f"{name}: {violation}" for name, pod in pods(objects).items() for violation in violations(pod)]


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_builds_with_valid_objects_and_restricted_pods(name: str) -> None:
    assert problems(overlay(name)) == []


@pytest.mark.parametrize("components", COMBINATIONS, ids="+".join)
def test_every_combination_of_components_builds(components: tuple[str, ...], tmp_path: Path) -> None:
    objects = combine(tmp_path, components)

    workloads = {*of_kind(objects, "StatefulSet"), *of_kind(objects, "Deployment")}
    expected = {*components} & {"postgres", "kafka", "minio"} | ({"edge"} if "nginx-edge" in components else set())
    assert workloads == expected
    assert bool(of_kind(objects, "HTTPRoute")) == ("gateway-api" in components)
    assert ("internal-callers" in of_kind(objects, "NetworkPolicy")) == ("internal-callers" in components)


def test_all_components_together_have_valid_objects_and_restricted_pods(tmp_path: Path) -> None:
    assert problems(combine(tmp_path, max(COMBINATIONS, key=len))) == []


def test_the_namespace_enforces_restricted_pods() -> None:
    labels = of_kind(overlay("production"), "Namespace")["image-processing"]["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_changed_setting_causes_a_new_revision(name: str) -> None:
    """The ConfigMap's name contains a digest, and each Service refers to it by name."""
    [settings] = [each for each in of_kind(overlay(name), "ConfigMap") if each.startswith("image-processing-")]

    for service in services(overlay(name)).values():
        [container] = service["spec"]["template"]["spec"]["containers"]
        assert container["envFrom"][0] == {"configMapRef": {"name": settings}}


def test_the_production_overlay_contains_no_secret() -> None:
    assert of_kind(overlay("production"), "Secret") == {}


def test_network_policies_deny_by_default_and_cover_every_workload(tmp_path: Path) -> None:
    objects = combine(tmp_path, max(COMBINATIONS, key=len))
    policies = of_kind(objects, "NetworkPolicy")
    named = [
        policy["spec"]["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/name")
        for policy in policies.values()
    ]

    assert policies["nothing-by-default"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert {*of_kind(objects, "StatefulSet"), *of_kind(objects, "Deployment")} <= {*named}
