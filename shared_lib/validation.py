"""Validate by types with pydantic, and word its errors for people who write JSON, not Python.

What is wrong costs little, however much of it there is: few mistakes are worded, and the others only counted.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from shared_lib.errors import Invalid

MAX_MISTAKES = 20
"""The most mistakes that an error names."""
_IN_SENTENCE = 3
MAX_NAMES = 64
"""Of an object in JSON that a caller sends. None of ours has a third of it."""
_SMALL = 16 * 1024  # bytes of JSON that can't hold many names
_MAX_PLACE = 200  # characters of a mistake's place, which the caller may have written

REQUIRED = "is required"

_WORDS = {
    "missing": REQUIRED,
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "must be valid UTF-8",
    "string_too_short": "must have at least {min_length:,} {unit}",
    "string_too_long": "must have at most {max_length:,} {unit}",
    "too_short": "must have at least {min_length:,} {unit}",
    "too_long": "must have at most {max_length:,} {unit}",
    "greater_than": "must be more than {gt:,}",
    "greater_than_equal": "must be at least {ge:,}",
    "less_than": "must be less than {lt:,}",
    "less_than_equal": "must be at most {le:,}",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "uuid_type": "must be a UUID, such as 0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11",
    "uuid_parsing": "must be a UUID, such as 0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11",
    "json_type": "must be JSON",
    "json_invalid": "is not valid JSON: {error}",
    "list_type": "must be a list",
    "tuple_type": "must be a list",  # JSON has neither tuples nor dictionaries
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dataclass_type": "must be an object",
    "union_tag_not_found": "kind is missing",
}
"""By pydantic's name of a mistake. All others are in its own words."""
_UNITS = {"string_too_short": "character", "string_too_long": "character"}

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MAX_NAME = 64
"""Characters of a wrong name that count: difflib takes time that grows with the square of a name's length."""
_SIMILAR = 0.66
"""Share of letters that names have in common if one of three is another."""
_MEMBER = re.compile(r"<\w+\.\w+: ('[^']*')>")  # an enumeration's member, which Python shows with its name
_QUOTED = re.compile(r"'([^']*)'")

Schema = Mapping[str, Any]


@cache
def adapt(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401  any type annotation
    """Return the adapter of a type, built on first use and once.

    Building one takes long: 40 ms of processor time for a type that contains recipes.
    """
    return TypeAdapter(kind)


def read_json(text: bytes | str) -> object:
    """Return what JSON says, or None for a text that is none."""
    try:
        return from_json(text)
    except ValueError:
        return None


def bound_names(data: bytes) -> None:
    """Raise Invalid for JSON with an object of too many names: pydantic collects a mistake for each that it lacks."""
    waiting = [read_json(data)] if len(data) > _SMALL else []
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            if len(value) > MAX_NAMES:
                raise invalid([{"parameter": "body", "message": f"has an object of more than {MAX_NAMES} names"}])
            waiting.extend(value.values())


def to_invalid(error: ValidationError, kind: Any, place: Callable[[ErrorDetails], str]) -> Invalid:  # noqa: ANN401  any type annotation
    """Return the error for a value that was read as a `kind`. It has the place of each mistake."""
    mistakes = _drop_consequences(error.errors(include_url=False, include_input=False))
    named = [
        {"parameter": place(each)[:_MAX_PLACE], "message": describe_mistake(each, kind)}
        for each in mistakes[:MAX_MISTAKES]
    ]
    return invalid(named, len(mistakes))


def invalid(named: list[dict[str, str]], count: int = 0) -> Invalid:
    """Return the error for these mistakes, of so many. Its sentence has the first ones."""
    sentence = "; ".join(f"{each['parameter']}: {each['message']}" for each in named[:_IN_SENTENCE])
    if count <= len(named):
        return Invalid(sentence, details=named)
    more = {"message": f"There are {count - len(named)} more mistakes"}
    return Invalid(f"{sentence}; and {count - _IN_SENTENCE} more mistakes", details=[*named, more])


def _drop_consequences(mistakes: list[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out that a list is too short if its items are wrong: pydantic counts the right ones."""
    wrong = {each["loc"][:depth] for each in mistakes for depth in range(len(each["loc"]))}
    return [each for each in mistakes if each["type"] != "too_short" or each["loc"] not in wrong]


def describe_mistake(mistake: ErrorDetails, kind: Any = None) -> str:  # noqa: ANN401  any type annotation
    """Say what is wrong with a value that was read as a `kind`, which has the names that a wrong one may stand for."""
    if mistake["type"] in _UNKNOWN:
        return describe_unknown(str(mistake["loc"][-1]), _list_names(kind, mistake["loc"][:-1]) if kind else ())
    given = {name: _shorten(value) for name, value in mistake.get("ctx", {}).items()}
    if mistake["type"] == "union_tag_invalid":
        return _suggest_kinds(str(given["tag"]), _QUOTED.findall(str(given["expected_tags"])))
    words = _WORDS.get(mistake["type"])
    if words is None:
        return mistake["msg"].removeprefix("Value error, ")
    return _MEMBER.sub(r"\1", words.format_map(given | {"unit": _count_in(mistake["type"], given)}))


def _shorten(value: object) -> object:
    """Return 3 for 3.0: people wrote the bound so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def describe_unknown(name: str, known: Sequence[str] = ()) -> str:
    """Say that there is no such name, and suggest the nearest of those that there are."""
    if not known:
        return "is not known here: leave it out"
    listed = f"Known are {', '.join(known)}" if len(known) > 1 else f"Only {known[0]} is known"
    near = " or ".join(_find_similar(name[:_MAX_NAME], known))
    return f"is not known here. Did you mean {near}? {listed}" if near else f"is not known here. {listed}"


def _find_similar(name: str, known: Sequence[str]) -> list[str]:
    """Return the names that one may stand for: those that differ in a letter or so, or else those that it begins."""
    spelled = {_simplify(each): each for each in known}
    near = difflib.get_close_matches(_simplify(name), spelled, cutoff=_SIMILAR)
    return [spelled[each] for each in near or spelled if near or each.startswith(_simplify(name))]


def _simplify(name: str) -> str:
    """Return a name without what its spellings differ in: sortBy, sort_by, SORT-BY."""
    return name.lower().replace("_", "").replace("-", "")


def _suggest_kinds(written: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(written[:_MAX_NAME], known, n=3)
    if near:
        return f"there is no kind '{written[:_MAX_NAME]}'; did you mean {' or '.join(map(repr, near))}?"
    return f"there is no kind '{written[:_MAX_NAME]}'; it is one of {', '.join(known)}"


def _count_in(mistake: str, given: Mapping[str, Any]) -> str:
    unit = _UNITS.get(mistake, "item")
    return unit if 1 in (given.get("min_length"), given.get("max_length")) else f"{unit}s"


def _list_names(kind: Any, path: Sequence[int | str]) -> list[str]:  # noqa: ANN401  any type annotation
    """Return the names of the fields of the object that a mistake's path leads to.

    Walks pydantic's own description of the type, because its errors don't have them.
    """
    schema = adapt(kind).core_schema
    shared = {each["ref"]: each for each in schema.get("definitions", ())}
    reached = [_unwrap(schema, shared)]
    for step in path:
        reached = [_unwrap(inner, shared) for each in reached for inner in _enter(each, step)]
    return next(([*_get_fields(each)] for each in reached if "fields" in each), [])


def _unwrap(schema: Any, shared: Mapping[str, Schema]) -> Schema:  # noqa: ANN401  one of pydantic's many types
    """Leave out what has no step of a path: defaults, validators, models."""
    while "schema" in schema or "schema_ref" in schema:
        schema = schema["schema"] if "schema" in schema else shared[schema["schema_ref"]]
    unwrapped: Schema = schema
    return unwrapped


def _enter(schema: Schema, step: int | str) -> Iterable[Any]:
    """Return what a step leads to: a field, an item, or a member of a union, which the input doesn't show."""
    if "fields" in schema:
        return filter(None, [_get_fields(schema).get(str(step))])
    if schema["type"] == "tagged-union":
        return filter(None, [schema["choices"].get(step)])
    items = schema.get("choices") or schema.get("items_schema") or schema.get("values_schema") or ()
    return items if isinstance(items, list) else [items] if items else ()


def _get_fields(schema: Schema) -> dict[str, Any]:
    fields = schema["fields"]
    named = fields.items() if isinstance(fields, dict) else ((each["name"], each) for each in fields)
    return {each.get("validation_alias", name): each for name, each in named}
