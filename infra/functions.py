"""List the functions: their folders, their manifests, and the endpoints that they declare."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from functions_framework import _function_registry

from infra.local.manifests import Service
from shared_lib.web import Endpoint

ROOT = Path(__file__).parent.parent
FOLDERS = ROOT / "functions"
MANIFESTS = ROOT / "infra" / "knative"


@dataclass(frozen=True)
class Function:
    folder: str
    """In `functions/`, such as `get_image`."""

    declared_name: str
    """The name that its code declares, for logs and events. A test compares it with the folder."""

    manifest: Service

    endpoint: Endpoint | None
    """None if no HTTP request reaches the function: only events do."""

    @property
    def is_public(self) -> bool:
        """True if a route leads to it."""
        return self.endpoint is not None and not self.endpoint.is_private

    @property
    def name(self) -> str:
        """Of its Knative Service, such as `get-image`."""
        return self.manifest.name

    @property
    def resources(self) -> Any:  # noqa: ANN401  any YAML
        """Requests and limits in the manifest. None leaves them to the patch of the function's component."""
        return self.manifest.spec.template.spec.containers[0].resources


@cache
def list_functions() -> tuple[Function, ...]:
    """Return every function, by name. Exit with a message if a folder or its manifest is missing."""
    services = {service.folder: service for service in _services()}
    folders = {source.parent.name for source in FOLDERS.glob("*/main.py")}
    for folder in sorted(folders ^ services.keys()):
        raise SystemExit(
            f"functions/{folder}/main.py and infra/knative/{folder.replace('_', '-')}.yaml: one is missing"
        )
    return tuple(_load(folder, services[folder]) for folder in sorted(folders))


def manifest_files() -> list[Path]:
    """Return the manifests that kustomize applies, which leaves out its own file and the patches."""
    found = MANIFESTS.glob("*.yaml")
    return sorted(path for path in found if not re.search(r"(^kustomization|\.patch)\.yaml$", path.name))


def _services() -> Iterator[Service]:
    for path in manifest_files():
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] == "Service":
                yield Service.model_validate(document)


def _load(folder: str, manifest: Service) -> Function:
    """Load the function as functions-framework does, and read what it declares."""
    module, spec = _function_registry.load_function_module(  # type: ignore[no-untyped-call]  # no types
        str(FOLDERS / folder / "main.py")
    )
    spec.loader.exec_module(module)
    endpoint: Endpoint | None = getattr(module.main, "endpoint", None)
    return Function(folder, endpoint.name if endpoint else module.main.consumer, manifest, endpoint)
