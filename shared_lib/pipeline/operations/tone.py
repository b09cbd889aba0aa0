"""Lightness and color, pixel by pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

from shared_lib.constraints import Bounds, IntegerBounds
from shared_lib.pipeline.channels import Change, apart_from_alpha, in_color, rgba
from shared_lib.pipeline.operations.operation import Context, Operation
from shared_lib.pipeline.parameters import Angle, Color, Factor
from shared_lib.pipeline.vips import Image, pyvips

_LUMA = [0.299, 0.587, 0.114]  # ITU-R BT.601
# The matrix of CSS's sepia() filter (Filter Effects, 9.3).
_SEPIA = [[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]]

_Slope = Annotated[float, Bounds(ge=-10, le=10, allow_inf_nan=False)]
_Shift = Annotated[float, Bounds(ge=-2550, le=2550, allow_inf_nan=False)]
_Level = Annotated[int, IntegerBounds(ge=0, le=255)]
_Point = Annotated[tuple[_Level, _Level], Bounds(strict=False)]
_Points = Annotated[tuple[_Point, ...], Bounds(max_length=32, strict=False, fail_fast=True)]


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
    model: Literal["lch", "hsp"] = "lch"
    """CIE LCh, or Darel Rex Finley's HSP, which weighs the squares of red, green and blue."""

    def apply(self, image: Image, _: Context) -> Image:
        if self.model == "lch":
            return _in_lch(image, [1, self.factor, 1], 0)
        return _change_colors(image, self._in_hsp)

    def _in_hsp(self, colors: Image) -> Image:
        brightness = (colors * colors).recomb([_LUMA]) ** 0.5
        return ((colors - brightness) * self.factor + brightness).cast("uchar").copy(interpretation="srgb")


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
    model: Literal["light", "luma"] = "light"
    """Keep how bright each color looks, or weigh the stored numbers as television did (ITU-R BT.601)."""

    def apply(self, image: Image, _: Context) -> Image:
        if self.model == "light":
            return image.colourspace("b-w")
        return apart_from_alpha(in_color(image), _weigh).copy(interpretation="b-w")


def _weigh(colors: Image) -> Image:
    return colors.recomb([_LUMA]).rint().cast("uchar")


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


@dataclass(frozen=True, kw_only=True)
class Linear(Operation):
    """Multiply red, green and blue, and add to them: one number for all, or three."""

    kind: Literal["linear"] = "linear"
    factor: Annotated[tuple[_Slope, ...], Bounds(min_length=1, max_length=3, strict=False)] = (1.0,)
    offset: Annotated[tuple[_Shift, ...], Bounds(min_length=1, max_length=3, strict=False)] = (0.0,)
    """Of 255."""

    def __post_init__(self) -> None:
        if 2 in (len(self.factor), len(self.offset)):
            raise ValueError("factor and offset have one number, or three")

    def apply(self, image: Image, _: Context) -> Image:
        if len(set(self.factor)) > 1 or len(set(self.offset)) > 1:
            image = in_color(image)
        factor, offset = ([*each] if len(set(each)) > 1 else [each[0]] for each in (self.factor, self.offset))
        return apart_from_alpha(image, lambda colors: colors.linear(factor, offset).rint().cast("uchar"))


@dataclass(frozen=True, kw_only=True)
class Curves(Operation):
    """Map the levels of each channel by a natural cubic spline through points, and then those of all channels."""

    kind: Literal["curves"] = "curves"
    all: _Points = ()
    """[level, new level], 0 to 255, by rising levels."""
    red: _Points = ()
    green: _Points = ()
    blue: _Points = ()

    def __post_init__(self) -> None:
        for points in (self.all, self.red, self.green, self.blue):
            if any(later[0] <= earlier[0] for earlier, later in pairwise(points)):
                raise ValueError("the levels of a curve rise from point to point")

    def apply(self, image: Image, _: Context) -> Image:
        whole = _spline(self.all)
        channels = [bytes(whole[level] for level in _spline(each)) for each in (self.red, self.green, self.blue)]
        tables = [pyvips.Image.new_from_memory(each, 256, 1, 1, "uchar") for each in channels]
        if len(set(channels)) > 1:
            image = in_color(image)
        table = tables[0].bandjoin(tables[1:]) if len(set(channels)) > 1 else tables[0]

        def change(colors: Image) -> Image:
            return colors.maplut(table).copy(interpretation=colors.interpretation)

        return apart_from_alpha(image, change)


@dataclass(frozen=True, kw_only=True)
class Equalize(Operation):
    """Spread the levels of each channel evenly from 0 to 255."""

    kind: Literal["equalize"] = "equalize"

    def apply(self, image: Image, _: Context) -> Image:
        def spread(colors: Image) -> Image:
            return colors.hist_equal().copy(interpretation=colors.interpretation)

        return apart_from_alpha(image.copy_memory(), spread)


def _spline(points: Sequence[tuple[int, int]]) -> bytes:
    """Return the new level of each level. Below the first and beyond the last point it is that point's."""
    if not points:
        return bytes(range(256))
    bends = _find_second_derivatives(points)
    levels = [points[0][1] if level < points[0][0] else points[-1][1] for level in range(256)]
    for index, ((x, y), (next_x, next_y)) in enumerate(pairwise(points)):
        width = next_x - x
        for level in range(x, next_x):
            b = (level - x) / width
            a = 1 - b
            bend = (a**3 - a) * bends[index] + (b**3 - b) * bends[index + 1]
            levels[level] = max(0, min(255, round(a * y + b * next_y + width * width / 6 * bend)))
    return bytes(levels)


def _find_second_derivatives(points: Sequence[tuple[int, int]]) -> list[float]:
    """Solve the tridiagonal system of a natural cubic spline (Thomas algorithm)."""
    bends = [0.0] * len(points)
    above = [0.0] * len(points)
    for index in range(1, len(points) - 1):
        (x0, y0), (x1, y1), (x2, y2) = points[index - 1 : index + 2]
        below = (x1 - x0) / 6
        pivot = (x2 - x0) / 3 - below * above[index - 1]
        above[index] = (x2 - x1) / 6 / pivot
        bends[index] = ((y2 - y1) / (x2 - x1) - (y1 - y0) / (x1 - x0) - below * bends[index - 1]) / pivot
    for index in range(len(points) - 2, 0, -1):
        bends[index] -= above[index] * bends[index + 1]
    return bends


def _in_lch(image: Image, factors: list[float], turn: float) -> Image:
    """Scale lightness and chroma and turn the hue in CIE LCh, where they are what people perceive."""

    def change(colors: Image) -> Image:
        changed = colors.colourspace("lch").linear(factors, [0, 0, turn])
        return changed.copy(interpretation="lch").colourspace("srgb")

    return _change_colors(image, change)


def _change_colors(image: Image, change: Change) -> Image:
    return apart_from_alpha(in_color(image), change)
