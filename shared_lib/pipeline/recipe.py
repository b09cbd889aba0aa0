"""Recipes: what a rendition is made by. Pure description, validated here, carried out by `render`."""

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, Field

from shared_lib.pipeline.formats import Format

MAX_SIDE = 8_192
"""Of a rendition, px. ImageMagick's web-safe policy: 8 KP."""

_REVISION = 1
"""Raised when the same recipe gives other pixels than before, so that old renditions are not mistaken for new ones."""


class Resize(BaseModel, frozen=True, extra="forbid"):
    """Scale to fill width x height exactly, cropping what is over, centred; small images are enlarged."""

    kind: Literal["resize"] = "resize"
    fit: Literal["cover"] = "cover"
    width: int = Field(ge=1, le=MAX_SIDE)
    height: int = Field(ge=1, le=MAX_SIDE)


# To add an operation: describe it above and name it here; its effect goes into `operations.py`.
Operation = Resize


class Output(BaseModel, frozen=True, extra="forbid"):
    """How a rendition is encoded. `source` keeps the image's format, or takes the nearest that any browser shows."""

    format: Literal["source", Format.JPEG, Format.PNG, Format.WEBP] = "source"
    quality: int = Field(default=82, ge=1, le=100)


class Recipe(BaseModel, frozen=True, extra="forbid"):
    """A rendition's name, the operations that make it, in order, and how it is encoded."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    operations: tuple[Operation, ...] = Field(max_length=20)
    output: Output = Output()

    @property
    def hash(self) -> str:
        """What the rendition's pixels depend on, as 16 hex digits: equal recipes are equal whatever they are called."""
        described = self.model_dump(mode="json", exclude={"name"}) | {"revision": _REVISION}
        canonical = json.dumps(described, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


THUMBNAIL = Recipe(name="thumbnail", operations=(Resize(width=100, height=100),))
