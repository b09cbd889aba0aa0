"""Image metadata: the fields extracted from an image when it arrives, and the bounds that a worker's reply must keep.

`extract` fills them in. Only workers import it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from shared_lib.constraints import Bounds, FormerNames, JsonSchemaExtra, Schema, Validate, to_camel

MAX_TEXT = 100
"""Characters of a text that the file's author chose, such as a camera's name."""

MAX_PALETTE_COLORS = 6
"""Colors of a palette."""

MAX_FRAMES = 1_000_000_000
"""More than fit into any file."""


def clean_text(text: str, most: int = MAX_TEXT) -> str | None:
    """Return a text's printable characters in one line, at most so many of them; None if none are left."""
    printable = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(printable.split())[:most].strip() or None


def require_printable(text: str) -> str:
    """Raises ValueError for control characters, and for those that change the direction of the text after them."""
    if not text.isprintable():
        raise ValueError("must be printable")
    return text


Text = Annotated[str, Bounds(min_length=1, max_length=MAX_TEXT), Validate(require_printable)]
ColorSpace = Literal["srgb", "display-p3", "rgb", "gray", "cmyk", "lab"]
CaptureTime = Annotated[
    datetime,
    JsonSchemaExtra(
        format=None,  # `date-time` would require the offset
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?$",
        examples=["2026-03-08T19:02:11+01:00"],
    ),
]
"""The camera's local time (ISO 8601). It has an offset from UTC only if the camera recorded one."""


class _CamelCase:
    """Field names are camelCase in JSON."""

    __pydantic_config__: ClassVar[Schema] = {
        "alias_generator": to_camel,
        "populate_by_name": True,
        "serialize_by_alias": True,
    }


@dataclass(frozen=True, kw_only=True)
class Location(_CamelCase):
    """GPS position: degrees, WGS 84, north and east positive."""

    latitude: Annotated[float, Bounds(ge=-90, le=90, allow_inf_nan=False)]
    longitude: Annotated[float, Bounds(ge=-180, le=180, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class PaletteColor(_CamelCase):
    """A color in sRGB, and its share of the visible pixels."""

    color: Annotated[str, Bounds(pattern=r"^#[0-9a-f]{6}$"), JsonSchemaExtra(examples=["#b5651d"])]
    share: Annotated[float, Bounds(ge=0, le=1, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class ImageMetadata(_CamelCase):
    """All that is extracted from an image but its format and size. None where a value is missing or implausible."""

    frames: Annotated[int, Bounds(ge=1, le=MAX_FRAMES)]
    """Of an animation; all other fields describe the first frame."""
    has_alpha: bool
    color_space: ColorSpace
    """As stored, before any conversion; `rgb` is that of any other profile."""
    profile: Text | None = None
    """The embedded ICC profile's description of itself."""
    bit_depth: Annotated[int, Bounds(ge=1, le=64)]
    """Bits per channel, as stored."""
    captured_at: CaptureTime | None = None
    camera_make: Text | None = None
    camera_model: Text | None = None
    lens_model: Text | None = None
    location: Location | None = None
    """Only if it was requested."""
    palette: Annotated[
        tuple[Annotated[PaletteColor, FormerNames({"colour": "color"})], ...], Bounds(max_length=MAX_PALETTE_COLORS)
    ]
    """Most common first. Transparent pixels do not count: a fully transparent image has no colors."""
    thumb_hash: Annotated[str, Bounds(max_length=36, pattern=r"^[A-Za-z0-9+/]{8,36}={0,2}$")]
    """ThumbHash (https://evanw.github.io/thumbhash), Base64; includes alpha."""
    blur_hash: Annotated[str, Bounds(pattern=r"^[0-9A-Za-z#$%*+,\-.:;=?@\[\]^_{|}~]{28}$")]
    """BlurHash (https://blurha.sh) of 4 x 3 components, or 3 x 4 for an upright image; on white."""
    perceptual_hash: Annotated[str, Bounds(pattern=r"^[0-9a-f]{16}$")] | None
    """64 bits, of which similar images differ in few, on white; None for an image without any structure."""


StoredMetadata = Annotated[ImageMetadata, FormerNames({"colourSpace": "colorSpace"})]
"""As read from a database, where an earlier release may have written other names."""
