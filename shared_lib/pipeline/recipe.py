"""Recipes: what a rendition is made by. Pure description, validated here, carried out by `render`."""

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, Field

from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.operations import Operation, Resize

_REVISION = 1
"""Raised when the same recipe gives other pixels than before, so that old renditions are not mistaken for new ones."""


class Output(BaseModel, frozen=True, extra="forbid"):
    """How a rendition is encoded. `source` keeps the image's format, or takes the nearest that any browser shows."""

    format: Literal["source", Format.JPEG, Format.PNG, Format.WEBP] = "source"
    quality: int = Field(default=82, ge=1, le=100)


class Recipe(BaseModel, frozen=True, extra="forbid"):
    """A rendition's name, the operations that make it, in order, and how it is encoded."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    operations: tuple[Operation, ...] = Field(default=(), max_length=20)
    output: Output = Output()

    @property
    def hash(self) -> str:
        """What the rendition's pixels depend on, as 16 hex digits: equal recipes are equal whatever they are called.

        What has its default value is left out, so that a parameter added later does not orphan what was made before.
        """
        described = {
            "revision": _REVISION,
            "operations": [[operation.kind, _chosen(operation)] for operation in self.operations],
            "output": _chosen(self.output),
        }
        canonical = json.dumps(described, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _chosen(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_defaults=True)


def _inside(name: str, side: int) -> Recipe:
    return Recipe(name=name, operations=(Resize(width=side, height=side, fit="inside", enlarge=False),))


THUMBNAIL = Recipe(name="thumbnail", operations=(Resize(width=100, height=100),))

PRESETS = {
    recipe.name: recipe
    for recipe in (
        THUMBNAIL,
        _inside("small", 320),
        _inside("medium", 800),
        _inside("large", 1600),
        Recipe(name="square", operations=(Resize(width=400, height=400),)),
        Recipe(
            name="web",
            operations=(Resize(width=1600, height=1600, fit="inside", enlarge=False),),
            output=Output(format=Format.WEBP),
        ),
    )
}
"""What may be asked for by name alone."""
