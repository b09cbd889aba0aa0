"""Recipes and what is learnt of an image, as they are written: in JSON, by callers and operators, and by ourselves.

The only room of the pipeline that checks what it reads, by pydantic, besides the box, which reads what a child tells.
"""

import difflib
import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter
from pydantic_core import ErrorDetails

from shared_lib.pipeline.metadata.model import Knowledge
from shared_lib.pipeline.recipe import PRESETS, Recipe


def _refuse_homonyms(recipes: tuple[Recipe, ...]) -> tuple[Recipe, ...]:
    names = [recipe.name for recipe in recipes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"each rendition needs a name of its own, and {', '.join(twice)} is there twice")
    return recipes


Recipes = Annotated[tuple[Recipe, ...], Field(max_length=20), AfterValidator(_refuse_homonyms)]
"""What may be asked for at once."""

# Made when first needed: most functions never read a recipe by itself.
_recipe = cache(lambda: TypeAdapter(Recipe))
_presets = cache(lambda: TypeAdapter(dict[str, Recipe]))
_knowledge = cache(lambda: TypeAdapter(Knowledge))


# Where pydantic speaks of Python: JSON has neither tuples nor dictionaries, and a dataclass' fields are no arguments.
_WORDS = {
    "unexpected_keyword_argument": "Extra inputs are not permitted",
    "dataclass_type": "Input should be an object",
    "model_attributes_type": "Input should be an object",
    "model_type": "Input should be an object",
    "dict_type": "Input should be an object",
    "tuple_type": "Input should be a list",
    "union_tag_not_found": "kind is missing",
}
_MEMBER = re.compile(r"<\w+\.\w+: ('[^']*')>")  # of an enumeration: Python shows its name, too
_QUOTED = re.compile(r"'([^']*)'")


def describe_mistake(mistake: ErrorDetails) -> str:
    """What is wrong, as whoever wrote it can understand."""
    if mistake["type"] == "union_tag_invalid":
        return _suggest(mistake["msg"])
    said = _WORDS.get(mistake["type"], mistake["msg"].removeprefix("Value error, "))
    return _MEMBER.sub(r"\1", said)


def _suggest(message: str) -> str:
    """Name the kinds that look like the one that there is not, or all, by pydantic's message, which lists them last."""
    found, _, expected = message.partition(" does not match any of the expected tags: ")
    written = found.removeprefix("Input tag '").partition("' found using ")[0][:64]
    known = _QUOTED.findall(expected)
    near = difflib.get_close_matches(written, known, n=3)
    if near:
        return f"there is no kind '{written}'; did you mean {' or '.join(map(repr, near))}?"
    return f"there is no kind '{written}'; it is one of {', '.join(known)}"


def read_recipe(described: Mapping[str, Any]) -> Recipe:
    """Raises ValidationError."""
    return _recipe().validate_python(described)


def write_recipe(recipe: Recipe) -> str:
    """As JSON that `read_recipe` understands."""
    return _recipe().dump_json(recipe).decode()


def read_presets(described: Mapping[str, Mapping[str, Any]]) -> dict[str, Recipe]:
    """Add an operator's presets to the built-in ones, or put them in their place. Raises ValidationError."""
    if not described:
        return PRESETS
    return PRESETS | _presets().validate_python({name: {**recipe, "name": name} for name, recipe in described.items()})


def write_knowledge(knowledge: Knowledge) -> str:
    """As JSON."""
    return _knowledge().dump_json(knowledge).decode()
