"""The gallery's types of what the API returns, compared with the OpenAPI document.

They are written by hand: openapi-typescript 7 needs the compiler of TypeScript 5, and the gallery has that of 7.
"""

import json
import re
from typing import Any

import pytest
from service import ROOT

SCHEMAS: dict[str, dict[str, Any]] = json.loads((ROOT / "shared_lib/web/openapi.json").read_text())["components"][
    "schemas"
]
INTERFACE = re.compile(r"^(?:export )?interface (\w+) {\n(.*?)^}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^  (\w+): (.+)$", re.MULTILINE)
LITERALS = re.compile(r'"\w+"( \| "\w+")*')
INTERFACES = {
    name: {field: LITERALS.sub("string", declared) for field, declared in FIELD.findall(body)}
    for name, body in INTERFACE.findall((ROOT / "web/src/api.ts").read_text())
}
RETURNED = sorted(INTERFACES.keys() & SCHEMAS.keys())
NAMES = {"integer": "number", "ImageStatus": "Status", "FailureCode": "string"}


def test_the_gallery_has_types_for_what_the_api_returns() -> None:
    assert len(RETURNED) >= 12


@pytest.mark.parametrize("name", RETURNED)
def test_a_type_of_the_gallery_is_that_of_the_api(name: str) -> None:
    declared = {field: describe(schema) for field, schema in SCHEMAS[name]["properties"].items()}

    assert INTERFACES[name].items() <= declared.items()


def describe(schema: dict[str, Any]) -> str:
    """Return a schema in TypeScript. An enumeration without a name is a string."""
    if "anyOf" in schema:
        return " | ".join(describe(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"{describe(schema['items'])}[]"
    if schema.get("type") == "object":
        return f"Record<string, {describe(schema['additionalProperties'])}>"
    name: str = schema.get("type") or schema["$ref"].rpartition("/")[2]
    return NAMES.get(name, name)
