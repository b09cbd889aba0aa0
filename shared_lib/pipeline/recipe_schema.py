"""Recipes and image metadata as JSON, written by callers, by operators, and by ourselves.

Of the pipeline, only this module and `sandbox.pool`, which reads what workers reply, load pydantic.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from shared_lib.constraints import Bounds
from shared_lib.pipeline.metadata.model import ImageMetadata
from shared_lib.pipeline.recipe import PRESETS, Recipe
from shared_lib.validation import adapt


def _require_unique_names(recipes: tuple[Recipe, ...]) -> tuple[Recipe, ...]:
    names = [recipe.name for recipe in recipes]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"each rendition needs a name of its own; repeated: {', '.join(repeated)}")
    return recipes


Recipes = Annotated[tuple[Recipe, ...], Bounds(max_length=20), AfterValidator(_require_unique_names)]
"""The renditions of one request."""


def read_recipe(described: Mapping[str, Any]) -> Recipe:
    """Raises ValidationError."""
    recipe: Recipe = adapt(Recipe).validate_python(described)
    return recipe


def write_recipe(recipe: Recipe) -> str:
    """Return JSON that `read_recipe` reads, that of the last release, too, if it has all that the recipe asks for.

    Default values are left out: during an upgrade and after a rollback, functions that lack a parameter refuse it.
    """
    described = adapt(Recipe).dump_python(recipe, mode="json", exclude_defaults=True)
    for operation, written in zip(recipe.operations, described.get("operations", ()), strict=True):
        written["kind"] = operation.kind
    return json.dumps(described, separators=(",", ":"))


def read_presets(described: Mapping[str, Mapping[str, Any]]) -> dict[str, Recipe]:
    """Return the built-in presets with an operator's, which replace those of the same name. Raises ValidationError."""
    if not described:
        return PRESETS
    named = {name: {**recipe, "name": name} for name, recipe in described.items()}
    own: dict[str, Recipe] = adapt(dict[str, Recipe]).validate_python(named)
    return PRESETS | own


def write_metadata(metadata: ImageMetadata) -> str:
    """Return JSON."""
    return adapt(ImageMetadata).dump_json(metadata).decode()
