"""An image whose header was read, and how it is to be decoded."""

from dataclasses import dataclass
from typing import NamedTuple

from shared_lib.pipeline.colorimetry import Colorimetry
from shared_lib.pipeline.formats import Format

_SIDEWAYS = range(5, 9)  # EXIF orientations that swap width and height


@dataclass(frozen=True, slots=True)
class Source:
    """An image whose header was read and found within the limits. No pixel is decoded yet."""

    data: bytes
    format: Format
    width: int
    """Pixels, as stored."""
    height: int
    orientation: int
    """EXIF's number, 1 to 8."""
    frames: int = 1
    """More than one for an animated GIF, WebP or PNG only: pages of a TIFF are not frames."""
    is_untidy: bool = False
    """A JPEG that libjpeg gave a harmless warning about. Its other warnings are then ignored as well."""
    by_pillow: bool = False
    """An AVIF or BMP that Pillow reads, as it does most."""
    is_scalable: bool = False
    """Its decoder can scale while it decodes."""
    colorimetry: Colorimetry | None = None
    """The meaning of its numbers. None for sRGB, or if an ICC profile gives it."""

    @property
    def upright_size(self) -> tuple[int, int]:
        return (self.height, self.width) if self.orientation in _SIDEWAYS else (self.width, self.height)


class DecodePlan(NamedTuple):
    """The way to decode. Renditions with equal plans are made from the same pixels."""

    scale: float
    """Factor for both sides, one of the format's cheapest."""
    animated: bool
    """Decode all frames, one below the other, instead of the first alone."""
    square: int = 1
    """Px a side of the squares that are averaged to one pixel after decoding."""
