"""Recipes describe how renditions are made. `recipe_schema` reads them, `render` carries them out."""

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Annotated
from uuid import UUID

from shared_lib.constraints import NAME_PATTERN, Bounds, Handler, JsonSchemaExtra, Schema, Validate
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.gravity import Focus
from shared_lib.pipeline.operations import Operation
from shared_lib.pipeline.operations.resize import Resize
from shared_lib.pipeline.output import DEFAULTS, OutputOptions, check_options
from shared_lib.pipeline.parameters import StrictInput, changed_fields
from shared_lib.pipeline.spellings import read_other_spellings, spell_as_first, spell_fields_as_first

_REVISION = 2
"""Increased when the same recipe gives other pixels than before, so that old renditions are not taken for new ones."""

_MAX_OVERLAYS = 4

RenditionName = Annotated[str, NAME_PATTERN]


Operations = Annotated[tuple[Operation, ...], Bounds(max_length=20, strict=False)]
Output = Annotated[OutputOptions, Validate(check_options)]


@dataclass(frozen=True, kw_only=True)
class Recipe(StrictInput):
    """A rendition's name, the operations that make it, in order, and how it is encoded."""

    name: Annotated[RenditionName, JsonSchemaExtra(examples=["hero"])]
    operations: Operations = ()
    output: Output = field(default=OutputOptions(), metadata={"json_schema_extra": {"default": DEFAULTS}})

    def __post_init__(self) -> None:
        if self.output.animation == "keep" and any(operation.depends_on_content for operation in self.operations):
            raise ValueError("trim and smart gravity would cut each frame of an animation elsewhere")
        if len(self.overlays) > _MAX_OVERLAYS:
            raise ValueError(f"a recipe lays on at most {_MAX_OVERLAYS} different images")

    @property
    def overlays(self) -> tuple[UUID, ...]:
        """The stored images that it lays on: rendering it needs their bytes."""
        return tuple(dict.fromkeys(image for operation in self.operations for image in operation.overlays))

    @cached_property
    def hash(self) -> str:
        """Return 16 hex digits of everything that the pixels depend on. The recipe's name is not part of it.

        Default values are left out, so that a parameter added later does not orphan existing renditions. In code a
        float must be written as one, as pydantic reads it.
        """
        import hashlib  # noqa: PLC0415  it loads OpenSSL, and a worker names no object

        described = {
            "revision": _REVISION,
            "operations": [spell_as_first(operation.kind, changed_fields(operation)) for operation in self.operations],
            "output": spell_fields_as_first(changed_fields(self.output)),
        }
        canonical = json.dumps(described, default=_in_json, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Handler) -> Schema:
        schema = super().__get_pydantic_core_schema__(source, handler)
        return {
            "type": "function-before",
            "function": {"type": "no-info", "function": read_other_spellings},
            "schema": schema,
        }


def _in_json(value: Focus | UUID) -> object:
    return asdict(value) if isinstance(value, Focus) else str(value)


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
            output=OutputOptions(format=Format.WEBP),
        ),
    )
}
"""The built-in recipes, which callers may request by name."""
