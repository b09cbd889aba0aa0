"""Recipes and image metadata as JSON, written by callers, by operators, and by ourselves.

Of the pipeline, only this module and `sandbox.pool`, which reads what workers reply, load pydantic.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter

from shared_lib.pipeline.metadata.model import ImageMetadata
from shared_lib.pipeline.recipe import PRESETS, Recipe


def _require_unique_names(recipes: tuple[Recipe, ...]) -> tuple[Recipe, ...]:
    names = [recipe.name for recipe in recipes]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"each rendition needs a name of its own; repeated: {', '.join(repeated)}")
    return recipes


Recipes = Annotated[tuple[Recipe, ...], Field(max_length=20), AfterValidator(_require_unique_names)]
"""The renditions of one request."""

# Made when first needed: most functions never read a recipe by itself.
_recipe = cache(lambda: TypeAdapter(Recipe))
_presets = cache(lambda: TypeAdapter(dict[str, Recipe]))
_metadata = cache(lambda: TypeAdapter(ImageMetadata))


def read_recipe(described: Mapping[str, Any]) -> Recipe:
    """Raises ValidationError."""
    return _recipe().validate_python(described)


def write_recipe(recipe: Recipe) -> str:
    """Return JSON that `read_recipe` reads."""
    return _recipe().dump_json(recipe).decode()


def read_presets(described: Mapping[str, Mapping[str, Any]]) -> dict[str, Recipe]:
    """Return the built-in presets with an operator's, which replace those of the same name. Raises ValidationError."""
    if not described:
        return PRESETS
    return PRESETS | _presets().validate_python({name: {**recipe, "name": name} for name, recipe in described.items()})


def write_metadata(metadata: ImageMetadata) -> str:
    """Return JSON."""
    return _metadata().dump_json(metadata).decode()
