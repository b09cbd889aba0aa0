"""Read docker-compose.yml with the files that change it, as Compose merges them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from service import ROOT

FILES = ("rustfs", "monitoring", "functions")
"""Of infra/compose, each beside docker-compose.yml."""


class _Override:
    """Replaces what it would be merged with. None takes it away."""

    def __init__(self, value: object) -> None:
        self.value = value


class _Loader(yaml.SafeLoader):
    """Knows Compose's own tags."""


def _read_tagged(loader: _Loader, node: yaml.Node) -> _Override:
    value = loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else None
    return _Override(value)


_Loader.add_constructor("!reset", _read_tagged)
_Loader.add_constructor("!override", _read_tagged)


@cache
def load(*names: str) -> dict[str, Any]:
    """Return the services and all else of docker-compose.yml with these files of infra/compose."""
    merged = _read(ROOT / "docker-compose.yml")
    for name in names:
        merged = _merge(merged, _read(ROOT / f"infra/compose/{name}.yml"))
    return merged


def list_started(composed: Mapping[str, Any]) -> set[str]:
    """Return the names of the services that start by default."""
    return {name for name, each in composed["services"].items() if "profiles" not in each}


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load(path.read_text(), _Loader)  # noqa: S506  a safe loader with two more tags
    return content


def _merge(ours: Any, theirs: Any, name: str = "") -> Any:
    if isinstance(theirs, _Override):
        return theirs.value
    if isinstance(ours, dict) and isinstance(theirs, dict):
        merged = {key: _merge(ours.get(key), value, key) for key, value in theirs.items()}
        return {key: value for key, value in {**ours, **merged}.items() if value is not None}
    if name == "volumes" and isinstance(ours, list):
        by_target = {each.split(":")[1]: each for each in (*ours, *theirs)}
        return [*by_target.values()]
    return theirs
