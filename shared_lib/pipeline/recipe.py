"""Recipes: what a rendition is made by. Pure description, validated here, carried out by `render`."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, model_validator
from pydantic.alias_generators import to_camel

from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.operations import Operation, Resize, Trim, Watermark

_REVISION = 1
"""Raised when the same recipe gives other pixels than before, so that old renditions are not mistaken for new ones."""

_MAX_OVERLAYS = 4

_LOSSY = {Format.JPEG, Format.WEBP, Format.AVIF, Format.JXL}
# What each option needs; a format that is chosen later (`source`, `auto`) takes of them what it can.
_UNDERSTOOD_BY = {
    "quality": _LOSSY,
    "lossless": {Format.WEBP, Format.AVIF, Format.JXL},
    "progressive": {Format.JPEG, Format.PNG},
    "chroma": {Format.JPEG, Format.AVIF},
    "colours": {Format.PNG, Format.GIF},
    "max_bytes": _LOSSY,
    "profile": set(Format) - {Format.JXL},
    "animation": {Format.GIF, Format.WEBP, Format.PNG},
}


class Output(BaseModel, frozen=True, extra="forbid", strict=True, alias_generator=to_camel, populate_by_name=True):
    """How a rendition is encoded.

    `source` keeps the image's format, or takes the nearest that any browser shows; `auto` takes the smallest that any
    browser shows, which is WebP: lossless for a drawing, else lossy.
    """

    format: Literal[
        "source", "auto",
        Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF, Format.GIF, Format.TIFF, Format.JXL,
    ] = "source"  # fmt: skip
    quality: int | None = Field(default=None, ge=1, le=100)
    """Left out: what looks alike to most people, which is another number in each format."""
    lossless: bool = False
    progressive: bool = False
    chroma: Literal["4:2:0", "4:4:4"] = "4:2:0"
    """4:4:4 keeps thin coloured lines sharp, and takes more bytes."""
    effort: int | None = Field(default=None, ge=1, le=10)
    """Processor time to spend on fewer bytes: 1 least, 10 most."""
    colours: Literal[2, 4, 16, 256] | None = None
    """At most so many, in a palette of 1, 2, 4 or 8 bits, which are the ones that PNG has."""
    max_bytes: int | None = Field(default=None, ge=1_000, le=10_000_000)
    """The highest quality up to `quality` is found that stays below; 1 if none does."""
    metadata: Literal["strip", "keep", "copyright"] = "strip"
    profile: Literal["srgb", "keep"] = "srgb"
    """`keep`: colours stay in the source's ICC profile, which is embedded."""
    animation: Literal["still", "keep"] = "still"
    """`still` takes the first frame; `keep` all of them, of a GIF, WebP or PNG into any of these."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if isinstance(self.format, Format):
            for option, formats in _UNDERSTOOD_BY.items():
                if option in self._asked_for and self.format not in formats:
                    raise ValueError(f"{self.format} has no option {to_camel(option)}")
        if self.lossless and (self.quality is not None or self.max_bytes is not None):
            raise ValueError("lossless leaves neither quality nor maxBytes to choose")
        return self

    @property
    def _asked_for(self) -> set[str]:
        return set(self.model_dump(exclude_defaults=True))


RenditionName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class Recipe(BaseModel, frozen=True, extra="forbid", strict=True):
    """A rendition's name, the operations that make it, in order, and how it is encoded."""

    name: RenditionName = Field(examples=["hero"])
    operations: tuple[Operation, ...] = Field(default=(), max_length=20, strict=False)
    output: Output = Output()

    @model_validator(mode="after")
    def _keeps_frames_alike(self) -> Self:
        if self.output.animation == "keep":
            for operation in self.operations:
                if isinstance(operation, Trim) or getattr(operation, "gravity", None) == "smart":
                    raise ValueError("trim and smart gravity would cut each frame of an animation elsewhere")
        return self

    @model_validator(mode="after")
    def _lays_on_few(self) -> Self:
        if len(self.overlays) > _MAX_OVERLAYS:
            raise ValueError(f"a recipe lays on at most {_MAX_OVERLAYS} different images")
        return self

    @property
    def overlays(self) -> tuple[UUID, ...]:
        """The stored images that it lays on: whoever renders it must have their bytes."""
        laid_on = (operation.image for operation in self.operations if isinstance(operation, Watermark))
        return tuple(dict.fromkeys(laid_on))

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


def _refuse_homonyms(recipes: tuple[Recipe, ...]) -> tuple[Recipe, ...]:
    names = [recipe.name for recipe in recipes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"each rendition needs a name of its own, and {', '.join(twice)} is there twice")
    return recipes


Recipes = Annotated[tuple[Recipe, ...], Field(max_length=20), AfterValidator(_refuse_homonyms)]
"""What may be asked for at once."""


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


def read_presets(described: Mapping[str, Mapping[str, Any]]) -> dict[str, Recipe]:
    """Add an operator's presets to the built-in ones, or put them in their place. Raises ValidationError."""
    added = TypeAdapter(dict[str, Recipe]).validate_python(
        {name: {**recipe, "name": name} for name, recipe in described.items()}
    )
    return PRESETS | added
