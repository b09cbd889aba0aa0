"""Colours into sRGB, 8 bits a channel: what every browser assumes of an image without a profile."""

import pyvips

_CMYK = "cmyk"


def to_srgb(image: pyvips.Image) -> pyvips.Image:
    """Convert by the embedded ICC profile; CMYK without one by libvips' generic one.

    Gray without a profile stays one channel.
    """
    if image.get_typeof("icc-profile-data") or image.interpretation == _CMYK:
        image = _by_profile(image)
    if image.interpretation not in ("srgb", "b-w"):
        image = image.colourspace("b-w" if image.interpretation == "grey16" else "srgb")
    return image if image.format == "uchar" else image.cast("uchar")


def _by_profile(image: pyvips.Image) -> pyvips.Image:
    try:
        return image.icc_transform(
            "srgb", embedded=True, input_profile=_CMYK, intent="relative", black_point_compensation=True
        )
    except pyvips.Error:
        return image  # a profile that cannot be read or fits another colour space is as good as none; so do browsers
