"""What is learnt of an image when it arrives, as told by the box: forms, and the bounds within which they are believed.

How it is found out is in `learning`, which only the box's children import.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from shared_lib.constraints import Bounds, JsonSchemaExtra, Schema, Validate, to_camel

MAX_TEXT = 100
"""Characters of a text that the image's maker chose, such as a camera's name."""

MAX_SWATCHES = 6
"""Of a palette."""

MAX_FRAMES = 1_000_000_000
"""More than any file has room for."""


def clean_text(text: str, most: int = MAX_TEXT) -> str | None:
    """What of a text can be told in one line, of at most so many characters; None if nothing."""
    shown = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(shown.split())[:most].strip() or None


def refuse_unprintable(text: str) -> str:
    if not text.isprintable():  # control characters, and those that turn the direction of what follows
        raise ValueError("must be printable")
    return text


Text = Annotated[str, Bounds(min_length=1, max_length=MAX_TEXT), Validate(refuse_unprintable)]
ColourSpace = Literal["srgb", "display-p3", "rgb", "gray", "cmyk", "lab"]
CaptureTime = Annotated[
    datetime,
    JsonSchemaExtra(
        format=None,  # which would ask for the offset
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?$",
        examples=["2026-03-08T19:02:11+01:00"],
    ),
]
"""As the camera's clock showed it (ISO 8601); without an offset from UTC where the camera did not say one."""


class _Told:
    """With the names that callers read."""

    __pydantic_config__: ClassVar[Schema] = {
        "alias_generator": to_camel,
        "populate_by_name": True,
        "serialize_by_alias": True,
    }


@dataclass(frozen=True, kw_only=True)
class Location(_Told):
    """Where it was taken: degrees, WGS 84, north and east positive."""

    latitude: Annotated[float, Bounds(ge=-90, le=90, allow_inf_nan=False)]
    longitude: Annotated[float, Bounds(ge=-180, le=180, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class Swatch(_Told):
    """A colour in sRGB, and how much of what is visible it stands for."""

    colour: Annotated[str, Bounds(pattern=r"^#[0-9a-f]{6}$"), JsonSchemaExtra(examples=["#b5651d"])]
    share: Annotated[float, Bounds(ge=0, le=1, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class Knowledge(_Told):
    """All that is learnt of an image but its format and size. None where the image does not say, or says nonsense."""

    frames: Annotated[int, Bounds(ge=1, le=MAX_FRAMES)]
    """Of an animation; everything seen below is of the first."""
    has_alpha: bool
    colour_space: ColourSpace
    """As stored, before anything is converted; `rgb` is that of another profile."""
    profile: Text | None = None
    """What the embedded ICC profile calls itself."""
    bit_depth: Annotated[int, Bounds(ge=1, le=64)]
    """Bits a channel, as stored."""
    captured_at: CaptureTime | None = None
    camera_make: Text | None = None
    camera_model: Text | None = None
    lens_model: Text | None = None
    location: Location | None = None
    """Only where it was asked for."""
    palette: Annotated[tuple[Swatch, ...], Bounds(max_length=MAX_SWATCHES)]
    """Most common first. What is transparent does not count: an image that shows nothing has no colours."""
    thumb_hash: Annotated[str, Bounds(max_length=36, pattern=r"^[A-Za-z0-9+/]{8,36}={0,2}$")]
    """ThumbHash (https://evanw.github.io/thumbhash), Base64; knows alpha."""
    blur_hash: Annotated[str, Bounds(pattern=r"^[0-9A-Za-z#$%*+,\-.:;=?@\[\]^_{|}~]{28}$")]
    """BlurHash (https://blurha.sh) of 4 x 3 components, or 3 x 4 if it is upright; on white."""
    perceptual_hash: Annotated[str, Bounds(pattern=r"^[0-9a-f]{16}$")] | None
    """64 bits, of which alike images differ in few, on white; None for one without any shape to know it by."""
