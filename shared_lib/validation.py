"""Validate by types with pydantic, and word its errors for people who write JSON, not Python."""

import difflib
import re
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import ErrorDetails

# JSON has neither tuples nor dictionaries, and a dataclass's fields are not arguments.
_MESSAGES = {
    "unexpected_keyword_argument": "Extra inputs are not permitted",
    "dataclass_type": "Input should be an object",
    "model_attributes_type": "Input should be an object",
    "model_type": "Input should be an object",
    "dict_type": "Input should be an object",
    "tuple_type": "Input should be a list",
    "union_tag_not_found": "kind is missing",
}
_MEMBER = re.compile(r"<\w+\.\w+: ('[^']*')>")  # an enumeration's member, which Python shows with its name
_QUOTED = re.compile(r"'([^']*)'")


@cache
def adapt(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401  any type annotation
    """Return the adapter of a type, built on first use and once.

    Building one takes long: 40 ms of processor time for a type that contains recipes.
    """
    return TypeAdapter(kind)


def describe_mistake(mistake: ErrorDetails) -> str:
    if mistake["type"] == "union_tag_invalid":
        return _suggest_kinds(mistake["msg"])
    message = _MESSAGES.get(mistake["type"], mistake["msg"].removeprefix("Value error, ").replace("Tuple", "List"))
    return _MEMBER.sub(r"\1", message)


def _suggest_kinds(message: str) -> str:
    """Suggest kinds with a similar name, or else list all. Pydantic's message lists them at its end."""
    found, _, expected = message.partition(" does not match any of the expected tags: ")
    written = found.removeprefix("Input tag '").partition("' found using ")[0][:64]
    known = _QUOTED.findall(expected)
    near = difflib.get_close_matches(written, known, n=3)
    if near:
        return f"there is no kind '{written}'; did you mean {' or '.join(map(repr, near))}?"
    return f"there is no kind '{written}'; it is one of {', '.join(known)}"
