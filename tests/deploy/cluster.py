"""Build the manifests with kustomize: every overlay, and every combination of components."""

import functools
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "infra" / "k8s"
FUNCTIONS = {path.parent.name for path in ROOT.glob("functions/*/main.py")}
KUBECTL = Path(sys.executable).with_name("kubectl")
DEPENDENCIES = ("postgres", "kafka", "minio")
EDGES = ("gateway-api", "nginx-edge")
OPTIONAL = ("internal-callers",)

Object = dict[str, Any]


def subsets(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return itertools.chain.from_iterable(itertools.combinations(names, size) for size in range(len(names) + 1))


COMBINATIONS = [
    (*dependencies, edge, *more)
    for dependencies in subsets(DEPENDENCIES)
    for edge in EDGES
    for more in subsets(OPTIONAL)
]
OVERLAYS = ("local", "production")


@functools.cache
def build(folder: Path) -> list[Object]:
    result = subprocess.run([KUBECTL, "kustomize", folder], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return [each for each in yaml.safe_load_all(result.stdout) if each]


def overlay(name: str) -> list[Object]:
    return build(K8S / "overlays" / name)


def combine(folder: Path, components: tuple[str, ...]) -> list[Object]:
    """Build the base with these components, like an operator's own overlay."""
    base = Path("../" * len(folder.parts[1:])) / K8S.relative_to("/")
    overlay = {
        "resources": [f"{base / 'base'}"],
        "components": [f"{base / 'components' / name}" for name in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    return build(folder)


def put(thing: Any, path: str, value: object) -> None:
    r"""Set the value at a path such as `spec.rules.0`. A dot in a name is written `\.`."""
    *steps, last = (step.replace("\\.", ".") for step in re.split(r"(?<!\\)\.", path))
    for step in steps:
        thing = thing[int(step) if step.isdecimal() else step]
    thing[last] = value


def title(thing: Object) -> str:
    return f"{thing['kind']} {thing['metadata']['name']}"


def of_kind(objects: list[Object], kind: str, group: str = "") -> dict[str, Object]:
    return {
        each["metadata"]["name"]: each
        for each in objects
        if each["kind"] == kind and each["apiVersion"].startswith(group)
    }


def services(objects: list[Object]) -> dict[str, Object]:
    """Return the Knative Services, by name."""
    return of_kind(objects, "Service", "serving.knative.dev/")


def pod(thing: Object) -> Object | None:
    """Return the pod specification of a workload, or None for other objects."""
    template: Object | None = thing.get("spec", {}).get("template")
    return template["spec"] if template and "containers" in template.get("spec", {}) else None


def pods(objects: list[Object]) -> dict[str, Object]:
    return {title(each): specification for each in objects if (specification := pod(each))}
