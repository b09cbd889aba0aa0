"""Recipes describe how renditions are made. `recipe_schema` reads them, `render` carries them out."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from shared_lib.constraints import Bounds, Handler, IntegerBounds, JsonSchemaExtra, Schema, Validate, to_camel
from shared_lib.pipeline.formats import Format, describe_missing_codec, has_codec
from shared_lib.pipeline.gravity import Focus
from shared_lib.pipeline.operations import Operation
from shared_lib.pipeline.operations.resize import Resize
from shared_lib.pipeline.parameters import StrictInput
from shared_lib.pipeline.spellings import read_other_spellings, spell_as_first, spell_fields_as_first

_REVISION = 1
"""Raised when the same recipe gives other pixels than before, so that old renditions are not mistaken for new ones."""

_MAX_OVERLAYS = 4

_LOSSY = {Format.JPEG, Format.WEBP, Format.AVIF, Format.JXL}
# What each option needs; a format that is chosen later (`source`, `auto`) takes of them what it can.
_UNDERSTOOD_BY = {
    "quality": _LOSSY,
    "lossless": {Format.WEBP, Format.AVIF, Format.JXL},
    "progressive": {Format.JPEG, Format.PNG},
    "chroma_subsampling": {Format.JPEG, Format.AVIF},
    "colors": {Format.PNG, Format.GIF},
    "max_bytes": _LOSSY,
    "profile": set(Format) - {Format.JXL},
    "animation": {Format.GIF, Format.WEBP, Format.PNG},
}


@dataclass(frozen=True, kw_only=True)
class Output(StrictInput):
    """How a rendition is encoded.

    `source` keeps the image's format, or takes the nearest that any browser shows; `auto` takes the smallest that any
    browser shows, which is WebP: lossless for a drawing, else lossy.
    """

    __pydantic_config__: ClassVar[Schema] = StrictInput.__pydantic_config__ | {
        "alias_generator": to_camel,
        "populate_by_name": True,
        "serialize_by_alias": True,
    }

    format: Literal[
        "source", "auto",
        Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF, Format.GIF, Format.TIFF, Format.JXL,
    ] = "source"  # fmt: skip
    quality: Annotated[int, IntegerBounds(ge=1, le=100)] | None = None
    """Left out: what looks alike to most people, which is another number in each format."""
    lossless: bool = False
    progressive: bool = False
    chroma_subsampling: Literal["4:2:0", "4:4:4"] = "4:2:0"
    """4:4:4 keeps thin colored lines sharp, and takes more bytes."""
    effort: Annotated[int, IntegerBounds(ge=1, le=10)] | None = None
    """Processor time to spend on fewer bytes: 1 least, 10 most."""
    colors: Annotated[Literal[2, 4, 16, 256], IntegerBounds()] | None = None
    """At most so many, in a palette of 1, 2, 4 or 8 bits, which are the ones that PNG has."""
    max_bytes: Annotated[int, IntegerBounds(ge=1_000, le=10_000_000)] | None = None
    """The highest quality up to `quality` is found that stays below; 1 if none does."""
    metadata: Literal["strip", "keep", "copyright"] = "strip"
    profile: Literal["srgb", "keep"] = "srgb"
    """`keep`: colors stay in the source's ICC profile, which is embedded."""
    animation: Literal["still", "keep"] = "still"
    """`still` takes the first frame; `keep` all of them, of a GIF, WebP or PNG into any of these."""


def _fit_together(output: Output) -> Output:
    """Asked of what is read alone: an encoder tries what nobody could ask for."""
    if isinstance(output.format, Format):
        if not has_codec(output.format):
            raise ValueError(describe_missing_codec(output.format))
        chosen = _chosen(output)
        for option, formats in _UNDERSTOOD_BY.items():
            if option in chosen and output.format not in formats:
                raise ValueError(f"{output.format} has no option {to_camel(option)}")
    if output.lossless and (output.quality is not None or output.max_bytes is not None):
        raise ValueError("lossless leaves neither quality nor maxBytes to choose")
    return output


# By itself pydantic would show the names that Python knows.
_SHOWN_DEFAULT = {"json_schema_extra": {"default": {to_camel(each.name): each.default for each in fields(Output)}}}

RenditionName = Annotated[str, Bounds(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


@dataclass(frozen=True, kw_only=True)
class Recipe(StrictInput):
    """A rendition's name, the operations that make it, in order, and how it is encoded."""

    name: Annotated[RenditionName, JsonSchemaExtra(examples=["hero"])]
    operations: Annotated[tuple[Operation, ...], Bounds(max_length=20, strict=False)] = ()
    output: Annotated[Output, Validate(_fit_together)] = field(default=Output(), metadata=_SHOWN_DEFAULT)

    def __post_init__(self) -> None:
        if self.output.animation == "keep" and any(operation.depends_on_content for operation in self.operations):
            raise ValueError("trim and smart gravity would cut each frame of an animation elsewhere")
        if len(self.overlays) > _MAX_OVERLAYS:
            raise ValueError(f"a recipe lays on at most {_MAX_OVERLAYS} different images")

    @property
    def overlays(self) -> tuple[UUID, ...]:
        """The stored images that it lays on: rendering it needs their bytes."""
        return tuple(dict.fromkeys(image for operation in self.operations for image in operation.overlays))

    @property
    def hash(self) -> str:
        """Return 16 hex digits of everything that the pixels depend on. The recipe's name is not part of it.

        Default values are left out, so that a parameter added later does not orphan existing renditions. In code a
        float must be written as one, as pydantic reads it.
        """
        import hashlib  # noqa: PLC0415  it loads OpenSSL, and a worker names no object

        described = {
            "revision": _REVISION,
            "operations": [spell_as_first(operation.kind, _chosen(operation)) for operation in self.operations],
            "output": spell_fields_as_first(_chosen(self.output)),
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


def _chosen(described: Operation | Output) -> dict[str, Any]:
    """Return the fields that differ from their defaults."""
    values = ((each, getattr(described, each.name)) for each in fields(described))
    return {each.name: value for each, value in values if value != each.default}


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
            output=Output(format=Format.WEBP),
        ),
    )
}
"""What may be asked for by name alone."""
