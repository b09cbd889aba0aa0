"""What is decoded, and how: an image whose header was read."""

from dataclasses import dataclass
from typing import NamedTuple

from shared_lib.pipeline.colorimetry import Colorimetry
from shared_lib.pipeline.formats import Format

_SIDEWAYS = range(5, 9)  # EXIF orientations that swap width and height


@dataclass(frozen=True, slots=True)
class Source:
    """An image whose header was read and found within the limits; no pixel is decoded yet."""

    data: bytes
    format: Format
    width: int
    """In px, as stored."""
    height: int
    orientation: int
    """As EXIF counts them, 1 to 8."""
    frames: int = 1
    """More than one for an animated GIF, WebP or PNG only: pages of a TIFF are not frames."""
    is_untidy: bool = False
    """A JPEG that libjpeg warned of for what does no harm; its other warnings are not heeded either then."""
    by_pillow: bool = False
    """An AVIF or BMP that Pillow reads, as it does most."""
    is_scalable: bool = False
    """By its decoder, while it decodes."""
    meant: Colorimetry | None = None
    """What its numbers stand for, unless that is sRGB or an ICC profile says it."""

    @property
    def upright_size(self) -> tuple[int, int]:
        return (self.height, self.width) if self.orientation in _SIDEWAYS else (self.width, self.height)


class Way(NamedTuple):
    """How to decode: what two renditions have in common if they are made from the same pixels."""

    scale: float
    """Of either side; one of the format's cheapest."""
    animated: bool
    """All frames, one below the other, instead of the first alone."""
