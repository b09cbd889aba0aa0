"""Recipes: the presets, what every image gets, and the ones that a request asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared_lib.errors import Invalid, NotFound
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.repositories import Originals


@dataclass(frozen=True)
class Recipes:
    originals: Originals
    presets: dict[str, Recipe]
    defaults: tuple[Recipe, ...]
    """Recipes of the renditions that every image gets, the thumbnail first."""

    def choose(self, renditions: Sequence[Recipe] | None, preset: str | None) -> tuple[Recipe, ...]:
        """
        Return the recipes that a request asks for: its own, or those of a preset.

        Raises Invalid, and NotFound if a watermark is not a processed image.
        """
        if preset is not None:
            return (self._get_preset(preset),)
        recipes = tuple(renditions or ())
        for index, recipe in enumerate(recipes):
            if recipe.name == THUMBNAIL.name:
                raise _mistake(f"renditions.{index}.name", "every image has a thumbnail; choose another name")
        overlays = {image for recipe in recipes for image in recipe.overlays}
        if missing := overlays - self.originals.find(overlays).keys():
            names = ", ".join(sorted(map(str, missing)))
            raise NotFound(f"There is no processed image {names} to lay on another", code="watermark_not_found")
        return recipes

    def _get_preset(self, name: str) -> Recipe:
        if name not in self.presets:
            raise _mistake("preset", f"there is no {name!r}, only {', '.join(sorted(self.presets))}")
        return self.presets[name]


def _mistake(parameter: str, message: str) -> Invalid:
    return Invalid(f"{parameter}: {message}", details=[{"parameter": parameter, "message": message}])
