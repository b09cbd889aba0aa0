"""Other spellings of recipes: the names of earlier releases, which are also the British ones.

They are read, never written, and no part of the API's description. A recipe's identity is computed from them, so that
renaming changes no object's key and orphans no rendition.
"""

from collections.abc import Mapping
from typing import Any

from shared_lib.constraints import rename_keys

_FIELDS = {"colour": "color", "colours": "colors", "chroma": "chroma_subsampling"}
_KINDS = {"crop_to_ratio": "cropToRatio", "round_corners": "roundCorners"}
_GRAVITIES = {"centre": "center"} | {f"{y}-{x}": f"{y}{x}" for y in ("north", "south") for x in ("east", "west")}

_FORMER_FIELDS, _FORMER_KINDS, _FORMER_GRAVITIES = (
    {now: former for former, now in names.items()} for names in (_FIELDS, _KINDS, _GRAVITIES)
)


def read_other_spellings(recipe: object) -> object:
    """Return what a caller or an earlier release wrote, with today's names. Leave anything unexpected as it is."""
    if not isinstance(recipe, Mapping):
        return recipe
    renamed = dict(recipe)
    if isinstance(operations := renamed.get("operations"), list | tuple):
        renamed["operations"] = [_rename_operation(operation) for operation in operations]
    if isinstance(output := renamed.get("output"), Mapping):
        renamed["output"] = rename_keys(output, _FIELDS)
    return renamed


def spell_as_first(kind: str, parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return an operation's kind and parameters with the names of the first release."""
    spelled = spell_fields_as_first(parameters)
    if isinstance(gravity := spelled.get("gravity"), str):
        spelled["gravity"] = _FORMER_GRAVITIES.get(gravity, gravity)
    return _FORMER_KINDS.get(kind, kind), spelled


def spell_fields_as_first(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {_FORMER_FIELDS.get(name, name): value for name, value in fields.items()}


def _rename_operation(operation: object) -> object:
    if not isinstance(operation, Mapping):
        return operation
    renamed = rename_keys(operation, _FIELDS)
    for name, spellings in (("kind", _KINDS), ("gravity", _GRAVITIES)):
        if isinstance(value := renamed.get(name), str):
            renamed[name] = spellings.get(value, value)
    return renamed
