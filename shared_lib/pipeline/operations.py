"""The operations that a recipe is made of: their parameters and limits. What they do to pixels is in `effects`.

Described apart from their effect because every HTTP function reads recipes, and none should load an imaging library.
"""

from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

from shared_lib.constraints import Bounds, Discriminator, IntegerBounds, Validate
from shared_lib.limits import MAX_SIDE
from shared_lib.pipeline import font
from shared_lib.pipeline.parameters import (
    Angle,
    Colour,
    Compass,
    Described,
    Factor,
    Focus,
    Gravity,
    Margin,
    Share,
    Side,
)


@dataclass(frozen=True, kw_only=True)
class Resize(Described):
    """Scale to a size.

    `cover` fills it and crops what is over; `contain` fits into it and fills up with background; `fill` distorts;
    `inside` fits into it, and `outside` around it, keeping the aspect ratio, so that one side may differ. With width or
    height alone the other follows from the aspect ratio, whatever the fit.
    """

    kind: Literal["resize"] = "resize"
    width: Side | None = None
    height: Side | None = None
    fit: Literal["cover", "contain", "fill", "inside", "outside"] = "cover"
    gravity: Gravity = "centre"
    enlarge: bool = True
    background: Colour = "transparent"
    """Around a contained image."""
    linear: bool = False
    """Average light instead of the numbers that stand for it, so that fine detail keeps its brightness; slower."""

    def __post_init__(self) -> None:
        if self.width is None and self.height is None:
            raise ValueError("width, height or both are needed")
        if self.gravity == "smart" and self.fit != "cover":
            raise ValueError("smart gravity chooses what cover crops; it has no meaning otherwise")


@dataclass(frozen=True, kw_only=True)
class Crop(Described):
    """Cut out a box, px; what of it lies outside the image is left out."""

    kind: Literal["crop"] = "crop"
    left: Margin = 0
    top: Margin = 0
    width: Side
    height: Side


@dataclass(frozen=True, kw_only=True)
class CropToRatio(Described):
    """Cut the largest part of an aspect ratio, such as 16:9."""

    kind: Literal["crop_to_ratio"] = "crop_to_ratio"
    width: Side
    height: Side
    gravity: Gravity = "centre"


@dataclass(frozen=True, kw_only=True)
class Extend(Described):
    """Add margins, px."""

    kind: Literal["extend"] = "extend"
    top: Margin = 0
    right: Margin = 0
    bottom: Margin = 0
    left: Margin = 0
    background: Colour = "transparent"


@dataclass(frozen=True, kw_only=True)
class Pad(Described):
    """Add margins until a size is reached; an image that is larger stays as it is."""

    kind: Literal["pad"] = "pad"
    width: Side
    height: Side
    gravity: Compass | Focus = "centre"
    background: Colour = "transparent"


@dataclass(frozen=True, kw_only=True)
class Trim(Described):
    """Cut off borders that look like the top left pixel, within a tolerance of 0 to 255."""

    kind: Literal["trim"] = "trim"
    threshold: Annotated[float, Bounds(ge=0, le=255)] = 10


@dataclass(frozen=True, kw_only=True)
class Rotate(Described):
    """Turn clockwise by degrees; the corners that open are filled with background."""

    kind: Literal["rotate"] = "rotate"
    angle: Angle
    background: Colour = "transparent"


@dataclass(frozen=True, kw_only=True)
class Flip(Described):
    """Mirror upside down."""

    kind: Literal["flip"] = "flip"


@dataclass(frozen=True, kw_only=True)
class Flop(Described):
    """Mirror left to right."""

    kind: Literal["flop"] = "flop"


@dataclass(frozen=True, kw_only=True)
class Blur(Described):
    """Gaussian blur, standard deviation in px."""

    kind: Literal["blur"] = "blur"
    sigma: Annotated[float, Bounds(ge=0.3, le=100)]


@dataclass(frozen=True, kw_only=True)
class Sharpen(Described):
    """Unsharp mask on lightness alone, so that no colours appear."""

    kind: Literal["sharpen"] = "sharpen"
    sigma: Annotated[float, Bounds(ge=0.3, le=10)] = 0.5


@dataclass(frozen=True, kw_only=True)
class Median(Described):
    """Take out specks smaller than half a square of `size` px."""

    kind: Literal["median"] = "median"
    size: Annotated[int, IntegerBounds(ge=3, le=15)] = 3


@dataclass(frozen=True, kw_only=True)
class Pixelate(Described):
    """Draw in squares of `size` px."""

    kind: Literal["pixelate"] = "pixelate"
    size: Annotated[int, IntegerBounds(ge=2, le=MAX_SIDE)]


@dataclass(frozen=True, kw_only=True)
class Brightness(Described):
    """Multiply lightness; 1 changes nothing."""

    kind: Literal["brightness"] = "brightness"
    factor: Factor


@dataclass(frozen=True, kw_only=True)
class Contrast(Described):
    """Multiply each channel's distance from middle gray; 1 changes nothing."""

    kind: Literal["contrast"] = "contrast"
    factor: Factor


@dataclass(frozen=True, kw_only=True)
class Saturation(Described):
    """Multiply colourfulness; 0 is gray, 1 changes nothing."""

    kind: Literal["saturation"] = "saturation"
    factor: Factor


@dataclass(frozen=True, kw_only=True)
class Hue(Described):
    """Turn all hues by degrees."""

    kind: Literal["hue"] = "hue"
    angle: Angle


@dataclass(frozen=True, kw_only=True)
class Gamma(Described):
    """Raise each channel to 1/exponent: above 1 brightens the shadows."""

    kind: Literal["gamma"] = "gamma"
    exponent: Annotated[float, Bounds(ge=0.1, le=10)]


@dataclass(frozen=True, kw_only=True)
class Grayscale(Described):
    """Drop colour."""

    kind: Literal["grayscale"] = "grayscale"


@dataclass(frozen=True, kw_only=True)
class Sepia(Described):
    """Brown tones of an old print."""

    kind: Literal["sepia"] = "sepia"


@dataclass(frozen=True, kw_only=True)
class Tint(Described):
    """Keep lightness, and give everything one colour's hue."""

    kind: Literal["tint"] = "tint"
    colour: Colour


@dataclass(frozen=True, kw_only=True)
class Duotone(Described):
    """Two colours: one for the shadows, one for the lights, and all between."""

    kind: Literal["duotone"] = "duotone"
    shadow: Colour
    highlight: Colour


@dataclass(frozen=True, kw_only=True)
class Invert(Described):
    """The negative."""

    kind: Literal["invert"] = "invert"


@dataclass(frozen=True, kw_only=True)
class RoundCorners(Described):
    """Make corners transparent, beyond a circle of this radius, px."""

    kind: Literal["round_corners"] = "round_corners"
    radius: Side


@dataclass(frozen=True, kw_only=True)
class Circle(Described):
    """Make everything transparent outside the largest circle (in a square) or ellipse that fits."""

    kind: Literal["circle"] = "circle"


@dataclass(frozen=True, kw_only=True)
class Flatten(Described):
    """Lay on a background; nothing stays transparent."""

    kind: Literal["flatten"] = "flatten"
    background: Colour = "#ffffff"


@dataclass(frozen=True, kw_only=True)
class Border(Described):
    """Draw a frame around the image, px."""

    kind: Literal["border"] = "border"
    width: Annotated[int, IntegerBounds(ge=1, le=1_000)]
    colour: Colour = "#000000"


@dataclass(frozen=True, kw_only=True)
class _LaidOn(Described):
    """It lies at its gravity, `margin` px from the edges, or in tiles `margin` px apart all over."""

    opacity: Share = 1
    gravity: Compass | Focus | None = None
    """South-east if it is left out."""
    tile: bool = False
    margin: Margin = 0

    def __post_init__(self) -> None:
        if self.tile and self.gravity is not None:
            raise ValueError("tiles lie everywhere: leave out tile or gravity")


@dataclass(frozen=True, kw_only=True)
class Watermark(_LaidOn):
    """Lay another stored image on this one, whole: it is made smaller where there is not enough room."""

    kind: Literal["watermark"] = "watermark"
    image: Annotated[UUID, Bounds(strict=False)]
    """Its first frame is laid on."""
    scale: Annotated[float, Bounds(gt=0, le=1)] | None = None
    """Its width as a share of this image's; left out, it has its own size."""


@dataclass(frozen=True, kw_only=True)
class TextWatermark(_LaidOn):
    """Write on the image, in any of the scripts that DejaVu Sans has, from the side that the script begins at.

    Lines that are too long are broken; letters become smaller where there is not enough room for all.
    """

    kind: Literal["text"] = "text"
    text: Annotated[str, Bounds(min_length=1, max_length=500), Validate(font.require)]
    size: Annotated[int, IntegerBounds(ge=4, le=1_000)] = 24
    """Of the font, px."""
    colour: Colour = "#ffffff"


# To add an operation: describe it above, name it here, and register its effect in `effects`.
Operation = Annotated[
    Resize | Crop | CropToRatio | Extend | Pad | Trim | Rotate | Flip | Flop
    | Blur | Sharpen | Median | Pixelate
    | Brightness | Contrast | Saturation | Hue | Gamma | Grayscale | Sepia | Tint | Duotone | Invert
    | RoundCorners | Circle | Flatten | Border | Watermark | TextWatermark,
    Discriminator(by="kind"),
]  # fmt: skip
