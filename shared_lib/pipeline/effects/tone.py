"""Lightness and colour, pixel by pixel."""

import pyvips

from shared_lib.pipeline import operations as op
from shared_lib.pipeline.effects.channels import Change, apart_from_alpha, in_colour, rgba

# The matrix of CSS's sepia() filter (Filter Effects, 9.3).
_SEPIA = [[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]]


def brightness(do: op.Brightness, image: pyvips.Image) -> pyvips.Image:
    return _in_lch(image, [do.factor, 1, 1], 0)


def saturation(do: op.Saturation, image: pyvips.Image) -> pyvips.Image:
    return _in_lch(image, [1, do.factor, 1], 0)


def hue(do: op.Hue, image: pyvips.Image) -> pyvips.Image:
    return _in_lch(image, [1, 1, 1], do.angle)


def contrast(do: op.Contrast, image: pyvips.Image) -> pyvips.Image:
    return apart_from_alpha(image, lambda it: it.linear(do.factor, 127.5 * (1 - do.factor), uchar=True))


def gamma(do: op.Gamma, image: pyvips.Image) -> pyvips.Image:
    return apart_from_alpha(image, lambda it: it.gamma(exponent=do.exponent))


def grayscale(_: op.Grayscale, image: pyvips.Image) -> pyvips.Image:
    return image.colourspace("b-w")


def sepia(_: op.Sepia, image: pyvips.Image) -> pyvips.Image:
    return _coloured(image, lambda it: it.recomb(_SEPIA).cast("uchar"))


def tint(do: op.Tint, image: pyvips.Image) -> pyvips.Image:
    ink = pyvips.Image.black(1, 1, bands=3) + rgba(do.colour)[:3]
    _, a, b = ink.cast("uchar").copy(interpretation="srgb").colourspace("lab").getpoint(0, 0)

    def keep_lightness(colours: pyvips.Image) -> pyvips.Image:
        lightness = colours.colourspace("lab")[0]
        # Neither black nor white has a hue: strongest in the middle.
        strength = 1 - ((lightness - 50) / 50) ** 2
        return lightness.bandjoin([strength * a, strength * b]).copy(interpretation="lab").colourspace("srgb")

    return _coloured(image, keep_lightness)


def duotone(do: op.Duotone, image: pyvips.Image) -> pyvips.Image:
    dark, light = rgba(do.shadow)[:3], rgba(do.highlight)[:3]
    steps = [(to - start) / 255 for start, to in zip(dark, light, strict=True)]
    table = pyvips.Image.identity().linear(steps, dark, uchar=True)
    gray = image.colourspace("b-w")
    return apart_from_alpha(gray, lambda it: it.maplut(table).copy(interpretation="srgb"))


def invert(_: op.Invert, image: pyvips.Image) -> pyvips.Image:
    return apart_from_alpha(image, lambda it: it.invert())


def _in_lch(image: pyvips.Image, factors: list[float], turn: float) -> pyvips.Image:
    """Scale lightness and chroma and turn the hue, where they are what people see: in CIE LCh."""

    def change(colours: pyvips.Image) -> pyvips.Image:
        changed = colours.colourspace("lch").linear(factors, [0, 0, turn])
        return changed.copy(interpretation="lch").colourspace("srgb")

    return _coloured(image, change)


def _coloured(image: pyvips.Image, change: Change) -> pyvips.Image:
    return apart_from_alpha(in_colour(image), change)
