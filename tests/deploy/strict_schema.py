"""Validate objects like `kubectl apply --validate=strict`: unknown fields are errors."""

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate

SCHEMAS = Path(__file__).parent / "schemas"
KUBERNETES = "1.34"  # the oldest version that Knative 1.23 supports


def schema_errors(thing: dict[str, Any]) -> list[str]:
    """Return the errors of an object by the schema of its kind."""
    name = f"{thing['kind']}_{thing['apiVersion'].replace('/', '_')}.json".lower()
    if (SCHEMAS / name).exists():
        errors = [f"{error.json_path}: {error.message}" for error in _validator(name).iter_errors(thing)]
        # Definitions have no schema for metadata: the API server uses one for all kinds.
        return errors + schema_errors({"apiVersion": "v1", "kind": "ConfigMap", "metadata": thing["metadata"]})
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
    """Translate Kubernetes' dialect to JSON Schema. An object with properties allows no others."""
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
