"""Constraints on dataclass fields, for pydantic, without importing it.

Fields carry them in `Annotated`. Pydantic enforces them when such a class is read from outside, by a model or a
TypeAdapter. Instances made in code are trusted and not checked. Sandbox workers receive what was already read, and so
never load pydantic, which takes 17 MiB, more than libvips.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Schema = dict[str, Any]

_SCALARS = ("int", "float", "str", "uuid", "literal", "tuple")


DEFAULT_TENANT = "default"
"""Of callers without credentials, of objects that S3 clients put into the inbox, and of what is older than tenants."""

TENANT_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A tenant's name is its id: a DNS label, so that it may stand in keys of objects and in settings of the database."""


class Handler(Protocol):
    """Pydantic's GetCoreSchemaHandler or GetJsonSchemaHandler."""

    def __call__(self, source: Any, /) -> Schema: ...  # noqa: ANN401  a type, or a schema

    def generate_schema(self, source: Any, /) -> Schema: ...  # noqa: ANN401  a type

    def resolve_ref_schema(self, maybe_ref: Schema, /) -> Schema: ...


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Constraints, named as in pydantic-core. For scalars and tuples only: elsewhere pydantic would ignore them."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    to_lower: bool | None = None
    allow_inf_nan: bool | None = None
    strict: bool | None = None
    fail_fast: bool | None = None
    """Of a list: only its first mistake is named."""

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        schema = handler(source)
        if schema["type"] not in _SCALARS:
            raise TypeError(f"pydantic would ignore bounds of {schema['type']}")
        bounded = schema | {name: bound for name, bound in vars(self).items() if bound is not None}
        if schema["type"] != "tuple" or self.max_length is None:
            return bounded
        return {
            "type": "function-before",
            "function": {"type": "no-info", "function": self._count},
            "schema": bounded,
        }

    def _count(self, items: object) -> object:
        """Refuse a list that is too long before its items are read. Pydantic counts only those that are right."""
        most = self.max_length or 0
        if isinstance(items, list | tuple) and len(items) > most:
            raise ValueError(f"must have at most {most} items")
        return items


class IntegerBounds(Bounds):
    """Bounds of an integer, which JSON may write as 3.0 as well as 3 (JSON Schema: `integer`)."""

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        return {
            "type": "function-before",
            "function": {"type": "no-info", "function": drop_decimal_point},
            "schema": super().__get_pydantic_core_schema__(source, handler),
        }


def drop_decimal_point(value: object) -> object:
    """Return 3 for 3.0, and anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True)
class Validate:
    """A function that returns the value that was read, or raises ValueError with what is wrong with it."""

    check: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        return {
            "type": "function-after",
            "function": {"type": "no-info", "function": self.check},
            "schema": handler(source),
        }


@dataclass(frozen=True)
class Pattern:
    """A regular expression that a whole text matches. An error says the rule in words instead."""

    expression: str
    rule: str

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        return Validate(self._check).__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, schema: Schema, handler: Handler) -> Schema:
        return handler(schema) | {"pattern": self.expression}

    def matches(self, text: str) -> bool:
        return re.fullmatch(self.expression, text) is not None

    def _check(self, text: str) -> str:
        if not self.matches(text):
            raise ValueError(self.rule)
        return text


NAME_PATTERN = Pattern(
    r"^[a-z0-9][a-z0-9_-]{0,63}$", "must be 1 to 64 of a-z, 0-9, - and _, and begin with a letter or a digit"
)
"""Of renditions, recipes and presets."""


@dataclass(frozen=True)
class Respell:
    """A function that brings a text into the spelling that is validated, the only one that JSON schemas have."""

    respell: Callable[[str], str]

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        return {
            "type": "function-before",
            "function": {"type": "no-info", "function": self._read},
            "schema": handler(source),
        }

    def _read(self, value: object) -> object:
        return self.respell(value) if isinstance(value, str) else value


class OneOf:
    """A closed list of values, for a list that is computed and so cannot be a `Literal`."""

    def __init__(self, *values: str) -> None:
        self._values = values

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        return {"type": "literal", "expected": list(self._values)}


@dataclass(frozen=True, eq=False)
class FormerNames:
    """Names that an earlier release wrote, with today's. They are read, never written, and not part of JSON schemas."""

    names: Mapping[str, str]

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Schema:
        return {
            "type": "function-before",
            "function": {"type": "no-info", "function": self._rename},
            "schema": handler(source),
        }

    def _rename(self, value: object) -> object:
        return rename_keys(value, self.names) if isinstance(value, Mapping) else value


def rename_keys(fields: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Rename former keys, but not over a present one: then both remain, which is the writer's error."""
    return {name if (now := names.get(name, name)) in fields else now: value for name, value in fields.items()}


class JsonSchemaExtra:
    """Additional JSON Schema keywords, such as `examples`. None removes a keyword."""

    def __init__(self, **keywords: object) -> None:
        self._keywords = keywords

    def __get_pydantic_json_schema__(self, schema: Schema, handler: Handler) -> Schema:
        extended = handler(schema) | self._keywords
        return {name: value for name, value in extended.items() if value is not None}


def to_camel(name: str) -> str:
    """Return a name as JSON has it: `max_bytes` becomes `maxBytes`."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
