"""Validation as `kubectl apply --validate=strict` does it: what a schema does not name is an error."""

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate

SCHEMAS = Path(__file__).parent / "schemas"
KUBERNETES = "1.34"  # the oldest that Knative 1.23 runs on


def complaints(thing: dict[str, Any]) -> list[str]:
    """What is wrong with an object, by the schema of its own kind."""
    name = f"{thing['kind']}_{thing['apiVersion'].replace('/', '_')}.json".lower()
    if (SCHEMAS / name).exists():
        wrong = [f"{error.json_path}: {error.message}" for error in _validator(name).iter_errors(thing)]
        # A definition leaves metadata to the API server, which has one idea of it for all kinds.
        return wrong + complaints({"apiVersion": "v1", "kind": "ConfigMap", "metadata": thing["metadata"]})
    try:
        kubernetes_validate.validate(thing, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{error.message}"]
    return []


@functools.cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    schema = _closed(json.loads((SCHEMAS / name).read_text()))
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}}
    return jsonschema.Draft202012Validator(schema)


def _closed(schema: Any) -> Any:
    """Kubernetes' dialect in plain JSON Schema, where an object that lists its properties has no others."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if "properties" in closed and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        closed["type"] = ["integer", "string"]
    return closed
