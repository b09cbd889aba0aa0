"""Convert colors to sRGB, 8 bits a channel, which every browser assumes of an image without a profile."""

import math

import pyvips

from shared_lib.pipeline.colorimetry import (
    BT2020_PRIMARIES,
    HLG,
    PQ,
    SRGB_PRIMARIES,
    Colorimetry,
    Primaries,
    matrix_between,
)

_CMYK = "cmyk"
_WHITE = 203  # nits, of what HDR shows as white paper (ITU-R BT.2408)
_HLG_PEAK = 1_000  # nits, of the display that HLG is made for
_BRIGHTNESS = (0.2627, 0.678, 0.0593)  # of BT.2020's red, green and blue


def to_srgb(image: pyvips.Image, colorimetry: Colorimetry | None = None, *, keep_profile: bool = False) -> pyvips.Image:
    """Convert by the colorimetry, or else by the embedded ICC profile. CMYK without one takes libvips' generic one.

    Gray without a profile stays one channel. With `keep_profile` an image with an ICC profile stays as it is, to be
    encoded with it, unless it is CMYK.
    """
    if colorimetry is not None:
        return _by_colorimetry(image, colorimetry)
    if image.interpretation == _CMYK or (image.get_typeof("icc-profile-data") and not keep_profile):
        image = _by_profile(image)
    if image.interpretation not in ("srgb", "b-w"):
        image = image.colourspace("b-w" if image.interpretation == "grey16" else "srgb")
    return image if image.format == "uchar" else image.cast("uchar")


def _by_profile(image: pyvips.Image) -> pyvips.Image:
    try:
        # As Adobe's programs do by default: colors that both have stay, and black becomes black.
        return image.icc_transform(
            "srgb", embedded=True, input_profile=_CMYK, intent="relative", black_point_compensation=True
        )
    except pyvips.Error:
        return image  # a profile that cannot be read or fits another color space is as good as none; so do browsers


def _by_colorimetry(image: pyvips.Image, colorimetry: Colorimetry) -> pyvips.Image:
    levels = 65_536 if image.format == "ushort" else 256
    colors, alpha = (image[:-1], image[image.bands - 1]) if image.hasalpha() else (image, None)
    light = _light(
        pyvips.Image.identity(ushort=levels > 256, size=levels).linear(1 / (levels - 1), 0), colorimetry.curve
    )
    if colors.bands < 3 or (colorimetry.primaries == SRGB_PRIMARIES and not colorimetry.is_hdr):
        if colorimetry.is_hdr:
            light = _darken(light, colorimetry)
        shown = colors.maplut(_numbers(light).copy(interpretation="b-w"))
        shown = shown.copy(interpretation="srgb" if colors.bands > 2 else "b-w")
    else:
        light = colors.maplut(light)
        if colorimetry.is_hdr:
            light = _recomb(
                _darken(_recomb(light, colorimetry.primaries, BT2020_PRIMARIES), colorimetry), BT2020_PRIMARIES
            )
        else:
            light = _recomb(light, colorimetry.primaries)
        shown = light.copy(interpretation="scrgb").colourspace("srgb")
    if alpha is not None:
        shown = shown.bandjoin((alpha >> 8 if levels > 256 else alpha).cast("uchar"))
    if shown.get_typeof("icc-profile-data"):
        shown = shown.copy()
        shown.remove("icc-profile-data")
    return shown


def _recomb(light: pyvips.Image, of: Primaries, to: Primaries = SRGB_PRIMARIES) -> pyvips.Image:
    return light if of == to else light.recomb([list(row) for row in matrix_between(of, to)])


def _light(numbers: pyvips.Image, curve: float) -> pyvips.Image:
    """Return the light that numbers from 0 to 1 stand for (H.273, table 3).

    PQ's is in units of white paper, HLG's is the scene's.
    """
    if isinstance(curve, float):
        return numbers**curve
    if curve == PQ:
        root = numbers ** (32 / 2523)
        below = root.linear(1, -0.8359375)
        return (_not_below_0(below) / root.linear(-18.6875, 18.8515625)) ** (16384 / 2610) * (10_000 / _WHITE)
    if curve == HLG:
        bright = (numbers.linear(1 / 0.17883277, -0.55991073 / 0.17883277).exp() + 0.28466892) / 12
        return (numbers <= 0.5).ifthenelse(numbers * numbers / 3, bright)
    return (numbers < 0.04045).ifthenelse(numbers / 12.92, ((numbers + 0.055) / 1.055) ** 2.4)


def _numbers(light: pyvips.Image) -> pyvips.Image:
    """Return sRGB's numbers, 0 to 255, for this light."""
    light = _not_below_0(light)
    numbers = (light <= 0.0031308).ifthenelse(light * 12.92, light ** (1 / 2.4) * 1.055 - 0.055)
    return (numbers * 255).rint().cast("uchar")


def _not_below_0(light: pyvips.Image) -> pyvips.Image:
    return (light > 0).ifthenelse(light, 0)


def _darken(light: pyvips.Image, colorimetry: Colorimetry) -> pyvips.Image:
    """Tone-map HDR's light to between black and white, as Chromium does (SMPTE ST 2094-50, reference white).

    Everything up to white paper is darkened equally, which leaves room above it for brighter light. The light is in
    BT.2020, or gray.
    """
    if colorimetry.curve == HLG:
        scene = light if light.bands < 3 else light.recomb([list(_BRIGHTNESS)])
        light = light * _not_below_0(scene) ** 0.2 * (_HLG_PEAK / _WHITE)
    most = colorimetry.peak / _WHITE
    if most <= 1:
        return light
    paper = 1 - 0.5 * min(1, math.log(most, _HLG_PEAK / _WHITE))
    # From white paper to the brightest it is a quadratic Bezier curve, whose second point lies where its ends' slopes
    # would meet, or near: x and y, less where it starts.
    middle = 0.65 * (1 / paper - 1), 0.65 * (1 - paper)
    end = most - 1, 1 - paper
    brightest = light[0].bandrank([light[1], light[2]], index=2) if light.bands > 2 else light
    beyond = _not_below_0(brightest - 1)
    b, a = 2 * middle[0], end[0] - 2 * middle[0]
    t = beyond * 2 / ((beyond * (4 * a) + b * b) ** 0.5 + b)
    t = (t < 1).ifthenelse(t, 1)
    curved = t * (2 * middle[1]) + t * t * (end[1] - 2 * middle[1]) + paper
    gain = (brightest > 1).ifthenelse(curved / brightest, paper)
    return light * gain
