"""Recipes: the presets, what every image gets, and the ones that a request asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from shared_lib.errors import Invalid, NotFound
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.recipe_schema import read_presets
from shared_lib.repositories.originals import Originals
from shared_lib.repositories.presets import Presets
from shared_lib.settings import InvalidSettings, Processing
from shared_lib.validation import describe_mistake

_RESERVED = (THUMBNAIL.name, "original")


class WatermarkNotFound(NotFound):
    code = "watermark_not_found"

    def __init__(self, images: str) -> None:
        super().__init__(f"There is no processed image {images} to lay on another")


def load_presets(settings: Processing) -> dict[str, Recipe]:
    """Raise InvalidSettings if a preset is invalid, or a default one is not defined."""
    try:
        presets = read_presets(settings.presets)
    except ValidationError as error:
        places = [
            ".".join(map(str, each["loc"])) + ": " + describe_mistake(each, dict[str, Recipe])
            for each in error.errors()
        ]
        raise InvalidSettings(f"PROCESSING_PRESETS: {'; '.join(places)}") from error
    if unknown := set(settings.default_presets) - presets.keys():
        raise InvalidSettings(f"PROCESSING_DEFAULT_PRESETS: there is no preset {', '.join(sorted(unknown))}")
    return presets


@dataclass(frozen=True)
class Recipes:
    originals: Originals
    stored: Presets
    """Those that the tenant made at run time."""
    presets: dict[str, Recipe]
    """Built-in ones, and the operator's."""
    defaults: tuple[Recipe, ...]
    """Recipes of the renditions that every image gets, the thumbnail first."""

    def choose(self, renditions: Sequence[Recipe] | None, preset: str | None) -> tuple[Recipe, ...]:
        """Return the recipes that a request asks for: its own, or those of a preset.

        Raises Invalid, and NotFound if a watermark is not a processed image.
        """
        if preset is not None:
            recipe = self.find_preset(preset)
            if recipe is None:
                known = sorted({*self.presets, *(each.name for each in self.stored.list())})
                raise _mistake("preset", f"there is no {preset!r}, only {', '.join(known)}")
            return (recipe,)
        recipes = tuple(renditions or ())
        for index, recipe in enumerate(recipes):
            if recipe.name == THUMBNAIL.name:
                raise _mistake(f"renditions.{index}.name", "every image has a thumbnail; choose another name")
        self._check_overlays(recipes)
        return recipes

    def check_preset(self, recipe: Recipe) -> None:
        """Raises Invalid, and NotFound if a watermark is not a processed image."""
        if recipe.name in _RESERVED:
            raise _mistake("recipe.name", f"{' and '.join(_RESERVED)} have a meaning already; choose another name")
        self._check_overlays((recipe,))

    def _check_overlays(self, recipes: Sequence[Recipe]) -> None:
        overlays = {image for recipe in recipes for image in recipe.overlays}
        if missing := overlays - self.originals.find(overlays).keys():
            raise WatermarkNotFound(", ".join(sorted(map(str, missing))))

    def find_preset(self, name: str) -> Recipe | None:
        """Return what the name stands for now: the tenant's own preset, or else a built-in or an operator's one."""
        return self.stored.find(name) or self.presets.get(name)


def _mistake(parameter: str, message: str) -> Invalid:
    return Invalid(f"{parameter}: {message}", details=[{"parameter": parameter, "message": message}])
