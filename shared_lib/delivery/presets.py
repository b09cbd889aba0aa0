"""Lower the name of a preset to its recipe, in any dialect."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from shared_lib.database.connection import acting_for
from shared_lib.errors import NotFound
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.recipe import Recipe
from shared_lib.repositories.deliveries import PublishedImage

FindPreset = Callable[[str], Recipe | None]
"""Among those of the tenant that a block acts for."""


@dataclass(frozen=True, slots=True)
class LowerPreset:
    """Lowers to what the name stands for now, for the image's tenant."""

    find: FindPreset
    name: str
    output: Format | Literal["source"] | None
    """In place of the preset's format. Options that this one lacks don't count then. None: the preset's."""

    def __call__(self, image: PublishedImage) -> Recipe:
        """Raises NotFound."""
        with acting_for(image.tenant):
            recipe = self.find(self.name)
        if recipe is None:
            raise NotFound(f"There is no preset {self.name}", code="no_such_preset")
        return recipe if self.output is None else replace(recipe, output=replace(recipe.output, format=self.output))
