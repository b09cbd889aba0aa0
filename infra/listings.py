"""Write the lists of functions that other tools need, each between two comments of a file that is otherwise ours.

A function's environment and resources come from its manifest in `infra/knative`.
"""

import json
from pathlib import Path

from infra.functions import MANIFESTS, ROOT, Function, list_functions, manifest_files
from infra.regions import fill

COMPOSE = ROOT / "infra/compose/functions.yml"
COMPOSE_NAMES = {"process-image": "processor"}
"""Services of Compose that are not named after their function. docker-compose.yml defines these."""

ROLES = {"events": "worker", "delivery": "delivery", "reconcile-images": "reconciler", "report-state": "reporter"}
"""Roles in the database of a component's functions, or of one function. The others have the role of the API."""


def generate() -> dict[Path, str]:
    functions = list_functions()
    return {
        MANIFESTS / "kustomization.yaml": fill(
            MANIFESTS / "kustomization.yaml", manifests=(f"  - {path.name}\n" for path in manifest_files())
        ),
        COMPOSE: fill(
            COMPOSE,
            **{
                "public functions": (_dependency(each) for each in functions if each.is_public),
                "event functions": (_dependency(each) for each in functions if not each.endpoint),
                "functions": (_compose_service(each) for each in functions if each.name not in COMPOSE_NAMES),
            },
        ),
        ROOT / "infra/openfaas/stack.yaml": fill(
            ROOT / "infra/openfaas/stack.yaml", functions=map(_openfaas_function, functions)
        ),
    }


def _dependency(function: Function) -> str:
    return f"      {_name_in_compose(function)}: {{condition: service_healthy}}\n"


def _name_in_compose(function: Function) -> str:
    return COMPOSE_NAMES.get(function.name, function.name)


def _compose_service(function: Function) -> str:
    return f"\n  {function.name}:\n    <<: *function\n{_environment(function)}"


def _environment(function: Function) -> str:
    return f"    environment: {{<<: *{_settings(function)}, {_flow(function.manifest.environ)[1:]}\n"


def _settings(function: Function) -> str:
    """Return the anchor of the settings that a function has: each of these connects with a role of its own."""
    role = ROLES.get(function.name) or ROLES.get(function.manifest.metadata.labels["app.kubernetes.io/component"])
    return f"{role}-settings" if role else "settings"


def _openfaas_function(function: Function) -> str:
    resources = function.resources or {}
    return (
        f"  {function.name}:\n"
        "    <<: *function\n"
        + "".join(f"    {name}: {_flow(resources[name])}\n" for name in ("requests", "limits") if name in resources)
        + _environment(function)
    )


def _flow(mapping: dict[str, str]) -> str:
    """Return a mapping in YAML's flow style. Quotes keep numbers text."""
    return "{" + ", ".join(f"{name}: {json.dumps(value)}" for name, value in mapping.items()) + "}"
