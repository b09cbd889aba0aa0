"""TIFF, whose pixels may have extra channels of unknown meaning."""

import pyvips

_COLORS = {"b-w": 1, "grey16": 1, "multiband": 1, "cmyk": 4}  # else 3


def decode(data: bytes) -> pyvips.Image:
    """Decode the first page. The bytes must outlive the image."""
    image = _load(data, "error")  # libtiff warns of every private tag
    if image.get_typeof("tile-width"):
        # Tiles cause no such warnings, but those that cannot be decoded would be left black.
        image = _load(data, "warning")
    colors = _COLORS.get(image.interpretation, 3)
    # One extra channel is alpha. Of several, none is known to be.
    return image[:colors] if image.bands > colors + 1 else image


def _load(data: bytes, fail_on: str) -> pyvips.Image:
    return pyvips.Image.tiffload_source(pyvips.Source.new_from_memory(data), access="sequential", fail_on=fail_on)
