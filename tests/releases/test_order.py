"""The guide applies everything but the functions first, and waits for bootstrap before it applies those."""

import re

import pytest
from deploy.cluster import OVERLAYS, of_kind, overlay
from service import ROOT

GUIDE = (ROOT / "docs/deploy.md").read_text()


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_the_guide_applies_first_is_everything_but_the_functions(name: str) -> None:
    [label] = re.findall(r"apply --kustomize your-overlay --selector '!(\S+)'", GUIDE)
    objects = overlay(name)

    later = [each for each in objects if label in each["metadata"].get("labels", {})]

    assert {each["kind"] for each in later} == {"Service"}
    assert {each["apiVersion"] for each in later} == {"serving.knative.dev/v1"}
    assert len(later) == len(of_kind(objects, "Service", "serving.knative.dev"))


def test_the_guide_waits_for_bootstrap_between_both() -> None:
    commands = GUIDE.partition("## Upgrade and rollback")[2].partition("```sh")[2].partition("```")[0].splitlines()
    steps = [re.sub(r" +#.*", "", line).strip() for line in commands if line.strip()]

    assert ["selector" in each for each in steps] == [False, True, False, False, False]
    assert "wait --for=condition=complete job/bootstrap" in steps[2]
    assert steps[3] == "kubectl apply --kustomize your-overlay"
