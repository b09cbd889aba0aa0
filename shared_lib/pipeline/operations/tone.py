"""Lightness and color, pixel by pixel."""

from dataclasses import dataclass
from typing import Annotated, Literal

from shared_lib.constraints import Bounds
from shared_lib.pipeline.channels import Change, apart_from_alpha, in_color, rgba
from shared_lib.pipeline.operations.operation import Context, Operation
from shared_lib.pipeline.parameters import Angle, Color, Factor
from shared_lib.pipeline.vips import Image, pyvips

# The matrix of CSS's sepia() filter (Filter Effects, 9.3).
_SEPIA = [[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]]


@dataclass(frozen=True, kw_only=True)
class Brightness(Operation):
    """Multiply lightness. 1 changes nothing."""

    kind: Literal["brightness"] = "brightness"
    factor: Factor

    def apply(self, image: Image, _: Context) -> Image:
        return _in_lch(image, [self.factor, 1, 1], 0)


@dataclass(frozen=True, kw_only=True)
class Contrast(Operation):
    """Multiply each channel's distance from middle gray. 1 changes nothing."""

    kind: Literal["contrast"] = "contrast"
    factor: Factor

    def apply(self, image: Image, _: Context) -> Image:
        offset = 127.5 * (1 - self.factor)
        return apart_from_alpha(image, lambda colors: colors.linear(self.factor, offset, uchar=True))


@dataclass(frozen=True, kw_only=True)
class Saturation(Operation):
    """Multiply colorfulness. 0 is gray, 1 changes nothing."""

    kind: Literal["saturation"] = "saturation"
    factor: Factor

    def apply(self, image: Image, _: Context) -> Image:
        return _in_lch(image, [1, self.factor, 1], 0)


@dataclass(frozen=True, kw_only=True)
class Hue(Operation):
    """Turn all hues by degrees."""

    kind: Literal["hue"] = "hue"
    angle: Angle

    def apply(self, image: Image, _: Context) -> Image:
        return _in_lch(image, [1, 1, 1], self.angle)


@dataclass(frozen=True, kw_only=True)
class Gamma(Operation):
    """Raise each channel to 1/exponent: above 1 brightens the shadows."""

    kind: Literal["gamma"] = "gamma"
    exponent: Annotated[float, Bounds(ge=0.1, le=10)]

    def apply(self, image: Image, _: Context) -> Image:
        return apart_from_alpha(image, lambda colors: colors.gamma(exponent=self.exponent))


@dataclass(frozen=True, kw_only=True)
class Grayscale(Operation):
    """Remove color."""

    kind: Literal["grayscale"] = "grayscale"

    def apply(self, image: Image, _: Context) -> Image:
        return image.colourspace("b-w")


@dataclass(frozen=True, kw_only=True)
class Sepia(Operation):
    """Tone brown like an old print."""

    kind: Literal["sepia"] = "sepia"

    def apply(self, image: Image, _: Context) -> Image:
        return _change_colors(image, lambda colors: colors.recomb(_SEPIA).cast("uchar"))


@dataclass(frozen=True, kw_only=True)
class Tint(Operation):
    """Keep lightness, and give everything one color's hue."""

    kind: Literal["tint"] = "tint"
    color: Color

    def apply(self, image: Image, _: Context) -> Image:
        pixel = pyvips.Image.black(1, 1, bands=3) + rgba(self.color)[:3]
        _, a, b = pixel.cast("uchar").copy(interpretation="srgb").colourspace("lab").getpoint(0, 0)

        def keep_lightness(colors: Image) -> Image:
            lightness = colors.colourspace("lab")[0]
            # Neither black nor white has a hue: strongest in the middle.
            strength = 1 - ((lightness - 50) / 50) ** 2
            return lightness.bandjoin([strength * a, strength * b]).copy(interpretation="lab").colourspace("srgb")

        return _change_colors(image, keep_lightness)


@dataclass(frozen=True, kw_only=True)
class Duotone(Operation):
    """Map shadows to one color, highlights to another, and everything between."""

    kind: Literal["duotone"] = "duotone"
    shadow: Color
    highlight: Color

    def apply(self, image: Image, _: Context) -> Image:
        dark, light = rgba(self.shadow)[:3], rgba(self.highlight)[:3]
        steps = [(to - start) / 255 for start, to in zip(dark, light, strict=True)]
        table = pyvips.Image.identity().linear(steps, dark, uchar=True)
        gray = image.colourspace("b-w")
        return apart_from_alpha(gray, lambda tones: tones.maplut(table).copy(interpretation="srgb"))


@dataclass(frozen=True, kw_only=True)
class Invert(Operation):
    """Invert all colors."""

    kind: Literal["invert"] = "invert"

    def apply(self, image: Image, _: Context) -> Image:
        return apart_from_alpha(image, lambda colors: colors.invert())


def _in_lch(image: Image, factors: list[float], turn: float) -> Image:
    """Scale lightness and chroma and turn the hue in CIE LCh, where they are what people perceive."""

    def change(colors: Image) -> Image:
        changed = colors.colourspace("lch").linear(factors, [0, 0, turn])
        return changed.copy(interpretation="lch").colourspace("srgb")

    return _change_colors(image, change)


def _change_colors(image: Image, change: Change) -> Image:
    return apart_from_alpha(in_color(image), change)
