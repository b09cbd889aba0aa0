"""Colours into sRGB, 8 bits a channel: what every browser assumes of an image without a profile."""

import pyvips

_CMYK = "cmyk"


def to_srgb(image: pyvips.Image, *, keep_profile: bool = False) -> pyvips.Image:
    """Convert by the embedded ICC profile; CMYK without one by libvips' generic one.

    Gray without a profile stays one channel. With `keep_profile` only CMYK is converted: red, green and blue stay as
    they are, to be encoded with their profile.
    """
    if image.interpretation == _CMYK or (image.get_typeof("icc-profile-data") and not keep_profile):
        image = _by_profile(image)
    if image.interpretation not in ("srgb", "b-w"):
        image = image.colourspace("b-w" if image.interpretation == "grey16" else "srgb")
    return image if image.format == "uchar" else image.cast("uchar")


def _by_profile(image: pyvips.Image) -> pyvips.Image:
    try:
        # As Adobe's programs do by default: colours that both have stay, and black becomes black.
        return image.icc_transform(
            "srgb", embedded=True, input_profile=_CMYK, intent="relative", black_point_compensation=True
        )
    except pyvips.Error:
        return image  # a profile that cannot be read or fits another colour space is as good as none; so do browsers
