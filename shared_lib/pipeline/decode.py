"""Encoded bytes to pixels: sniff, read and bound the header, then decode, never larger than is needed."""

from dataclasses import dataclass

import pyvips

from shared_lib.errors import FailureCode, Rejected
from shared_lib.pipeline.formats import Format, sniff
from shared_lib.pipeline.limits import Limits

# The loader is named by what we sniffed: libvips never gets to choose one of its many others.
_LOADERS = {
    Format.JPEG: "jpegload_buffer",
    Format.PNG: "pngload_buffer",
    Format.GIF: "gifload_buffer",
    Format.WEBP: "webpload_buffer",
    Format.AVIF: "heifload_buffer",
    Format.TIFF: "tiffload_buffer",
}
_MAX_BANDS = 5  # CMYK and alpha; sharp's limit
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

    @property
    def upright_size(self) -> tuple[int, int]:
        return (self.height, self.width) if self.orientation in _SIDEWAYS else (self.width, self.height)


def inspect(data: bytes, limits: Limits) -> Source:
    """Find out what the bytes are, from their first bytes and their header alone.

    Raises Rejected: empty_file, file_too_large, unsupported_format, corrupt_image, too_many_pixels.
    """
    if not data:
        raise Rejected(FailureCode.EMPTY_FILE, "The file is empty.")
    if len(data) > limits.max_bytes:
        raise Rejected(FailureCode.FILE_TOO_LARGE, limits.bytes_exceeded(len(data)))
    real = sniff(data)
    if real is None or real is Format.SVG:
        raise Rejected(
            FailureCode.UNSUPPORTED_FORMAT, "The file is not a JPEG, PNG, GIF, WebP, AVIF, TIFF or SVG image."
        )
    try:
        header = _load(data, real)
    except pyvips.Error as error:
        raise corrupt(real) from error
    bound(header.width, header.height, limits)
    if header.bands > _MAX_BANDS:
        raise Rejected(
            FailureCode.UNSUPPORTED_FORMAT, f"The image has {header.bands} channels; at most {_MAX_BANDS} are allowed."
        )
    orientation = header.get("orientation") if header.get_typeof("orientation") else 1
    return Source(data, real, header.width, header.height, orientation)


def bound(width: int, height: int, limits: Limits) -> None:
    """Raise Rejected when an image of this size, px, may not be decoded."""
    if max(width, height) > limits.max_side or width * height > limits.max_pixels:
        raise Rejected(
            FailureCode.TOO_MANY_PIXELS,
            f"The image is {width:,} x {height:,} = {width * height:,} pixels; at most {limits.max_pixels:,} are "
            f"allowed, and {limits.max_side:,} a side.",
        )


def corrupt(real: Format) -> Rejected:
    return Rejected(FailureCode.CORRUPT_IMAGE, f"The {real.upper()} data is corrupt or truncated.")


def decode(source: Source, scale: float) -> pyvips.Image:
    """Decode upright, at `scale` (of either side, at most 1) or somewhat larger where the format can do so cheaply.

    Pixels are read as they are asked for, in order, so errors may come as late as encoding.
    """
    image = _load(source.data, source.format, **_shrink_on_load(source.format, scale))
    if source.orientation > 1:
        # Turning reads out of order, which a sequential decoder cannot.
        image = image.copy_memory().autorot()
    return image


def _load(data: bytes, real: Format, **options: float) -> pyvips.Image:
    # "error", not sharp's "warning": libjpeg warns of stray bytes between markers, which many cameras write.
    return getattr(pyvips.Image, _LOADERS[real])(data, access="sequential", fail_on="error", **options)


def _shrink_on_load(real: Format, scale: float) -> dict[str, float]:
    """Let the decoder itself skip what the result will not show: JPEG by 2, 4 or 8 in its DCT, WebP by any scale."""
    if real is Format.JPEG:
        return {"shrink": next((factor for factor in (8, 4, 2) if scale * factor <= 1), 1)}
    if real is Format.WEBP and scale < 1:
        return {"scale": scale}
    return {}
