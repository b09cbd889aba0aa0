"""The options of recipes' `output`, by which renditions are encoded."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal

from shared_lib.constraints import IntegerBounds, OneOf, Respell, Schema, to_camel
from shared_lib.pipeline.formats import WRITTEN, Format, describe_missing_codec, has_codec, read_format
from shared_lib.pipeline.parameters import StrictInput, changed_fields

_FORMAT_OPTIONS = frozenset[str]().union(*(form.info.options or () for form in WRITTEN))
"""Options that not all formats have."""

Choice = Literal["source", "auto", "compatible"]
"""By what a format is chosen later."""


@dataclass(frozen=True, kw_only=True)
class OutputOptions(StrictInput):
    """Encoding options.

    `source` keeps the image's format, or takes the nearest one that every browser shows. `auto` takes the smallest one
    that every browser shows, which is WebP: lossless for a drawing, otherwise lossy. `compatible` takes JPEG, or PNG
    for what has transparency.
    """

    __pydantic_config__: ClassVar[Schema] = StrictInput.__pydantic_config__ | {
        "alias_generator": to_camel,
        "populate_by_name": True,
        "serialize_by_alias": True,
    }

    format: Annotated[Format | Choice, OneOf("source", "auto", "compatible", *WRITTEN), Respell(read_format)] = "source"
    quality: Annotated[int, IntegerBounds(ge=1, le=100)] | None = None
    """Default: a number for each format with which most people see no difference."""
    lossless: bool = False
    progressive: bool = False
    chroma_subsampling: Literal["4:2:0", "4:4:4"] = "4:2:0"
    """4:4:4 keeps thin colored lines sharp and takes more bytes."""
    effort: Annotated[int, IntegerBounds(ge=1, le=10)] | None = None
    """Processor time to spend on fewer bytes: 1 least, 10 most."""
    colors: Annotated[Literal[2, 4, 16, 256], IntegerBounds()] | None = None
    """Largest number of colors, in a palette of 1, 2, 4 or 8 bits, which are the ones that PNG has."""
    max_bytes: Annotated[int, IntegerBounds(ge=1_000, le=10_000_000)] | None = None
    """Use the highest quality up to `quality` that stays below, or 1 if none does."""
    metadata: Literal["strip", "keep", "copyright"] = "strip"
    profile: Literal["srgb", "keep"] = "srgb"
    """`keep`: colors stay in the source's ICC profile, which is embedded."""
    animation: Literal["still", "keep"] = "still"
    """`still` takes the first frame. `keep` takes all of them, of a GIF, WebP or PNG into any of these."""


def check_options(output: OutputOptions) -> OutputOptions:
    """Return the options. Raises ValueError for a format without a codec, and for options that exclude one another."""
    if isinstance(output.format, Format):
        if not has_codec(output.format):
            raise ValueError(describe_missing_codec(output.format))
        # A format that is chosen later (`source`, `auto`) ignores options that it lacks.
        for option in changed_fields(output):
            if option in _FORMAT_OPTIONS and option not in (output.format.info.options or ()):
                raise ValueError(f"{output.format} has no option {to_camel(option)}")
    if output.lossless and (output.quality is not None or output.max_bytes is not None):
        raise ValueError("lossless leaves neither quality nor maxBytes to choose")
    return output


DEFAULTS: dict[str, Any] = {to_camel(each.name): each.default for each in fields(OutputOptions)}
"""All options in JSON's names. By itself pydantic would show Python's names."""
