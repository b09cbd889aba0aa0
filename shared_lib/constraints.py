"""How plain dataclasses tell pydantic what they hold, without importing it.

Their fields' annotations carry what is below, and pydantic asks it wherever such a class is read from the outside: by a
model that has one as a field, or a TypeAdapter. What is made in code is trusted, and not held to it. The decoder's
children, which are handed what was read already, so never load pydantic: it takes 17 MiB, more than libvips.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

Schema = dict[str, Any]

_PLAIN = ("int", "float", "str", "uuid", "literal", "tuple")


class Handler(Protocol):
    """Pydantic's, of the schema as it is so far."""

    def __call__(self, source: Any, /) -> Schema: ...  # noqa: ANN401  a type, or a schema

    def generate_schema(self, source: Any, /) -> Schema: ...  # noqa: ANN401  a type

    def resolve_ref_schema(self, maybe_ref: Schema, /) -> Schema: ...


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bounds of a value, as pydantic's core calls them; of what is no plain value they would bound nothing."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    to_lower: bool | None = None
    allow_inf_nan: bool | None = None
    strict: bool | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        schema = handler(source)
        if schema["type"] not in _PLAIN:
            raise TypeError(f"bounds of {schema['type']}, which pydantic would pass over")
        return schema | {name: bound for name, bound in vars(self).items() if bound is not None}


class IntegerBounds(Bounds):
    """Bounds of a whole number, which JSON may write as 3.0 as well as 3 (JSON Schema: `integer`)."""

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        return {
            "type": "function-before",
            "function": {"type": "no-info", "function": _without_point},
            "schema": super().__get_pydantic_core_schema__(source, handler),
        }


def _without_point(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True)
class Validate:
    """What returns a value that was read, or raises ValueError with what is wrong with it."""

    check: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        return {
            "type": "function-after",
            "function": {"type": "no-info", "function": self.check},
            "schema": handler(source),
        }


class JsonSchemaExtra:
    """What a JSON schema says in addition, such as `examples`; None for what it shall not say."""

    def __init__(self, **said: object) -> None:
        self._said = said

    def __get_pydantic_json_schema__(self, schema: Schema, handler: Handler) -> Schema:
        shown = handler(schema) | self._said
        return {name: value for name, value in shown.items() if value is not None}


def to_camel(name: str) -> str:
    """As JSON has it: `max_bytes` is `maxBytes`."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
