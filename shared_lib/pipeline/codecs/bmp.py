"""Kinds of BMP that Pillow does not read: any masks, alpha, two bits per pixel, odd palettes, profiles."""

import struct
from typing import NamedTuple

import pyvips

_RGB, _BITFIELDS, _ALPHA_BITFIELDS = 0, 3, 6  # compressions
_FORMATS = {16: "ushort", 32: "uint"}
_MASKS = {16: (0x7C00, 0x3E0, 0x1F), 32: (0xFF0000, 0xFF00, 0xFF)}
_EMBEDDED = b"DEBM"  # PROFILE_EMBEDDED, little-endian
_LEFT, _RIGHT = (bytes(((byte >> at + 2) & 3) << 4 | (byte >> at) & 3 for byte in range(256)) for at in (4, 0))


class Bitmap(NamedTuple):
    """A bitmap of which each pixel is a word, and each channel some of its bits."""

    bits: int
    """Bits per word."""
    start: int
    masks: tuple[int, ...]
    """For red, green, blue, and alpha if there is any."""


def read_size(data: bytes) -> tuple[int, int]:
    """Return width and height, px. The height is negative if the top row comes first. Raises ValueError if invalid."""
    if len(data) < 26:
        raise ValueError("the bitmap has no header")
    width, height = struct.unpack_from("<HH" if _integer(data, 14) == 12 else "<ii", data, 18)
    if width <= 0 or height == 0:
        raise ValueError("the bitmap has no size")
    return width, height


def read_bitmap(data: bytes) -> Bitmap | None:
    """Read the header. Return None for a kind that Pillow reads."""
    header = _integer(data, 14)
    start, data = _integer(data, 10), data[:70].ljust(70, b"\0")
    bits, compression = struct.unpack_from("<HI", data, 28)
    if header < 40 or bits not in _FORMATS or compression not in {_RGB, _BITFIELDS, _ALPHA_BITFIELDS}:
        return None
    *colors, alpha = struct.unpack_from("<4I", data, 54)
    if compression == _RGB:
        colors = list(_MASKS[bits])
    # Masks follow the shortest header, and are part of longer ones. From the third version on, so is alpha's.
    has_alpha = compression == _ALPHA_BITFIELDS or header >= (56 if compression == _BITFIELDS else 108)
    masks = [mask & (1 << bits) - 1 for mask in (*colors, *([alpha] if has_alpha and alpha else []))]
    return Bitmap(bits, start, tuple(masks))


def decode(data: bytes, bitmap: Bitmap) -> pyvips.Image:
    """Decode it. Raises ValueError for missing pixels or a mask with gaps. The bytes must outlive the image."""
    width, height = read_size(data)
    words = -(-width * bitmap.bits // 32) * 32 // bitmap.bits  # per row, which is padded to a multiple of 32 bits
    end = bitmap.start + words * abs(height) * bitmap.bits // 8
    if end > len(data):
        raise ValueError("fewer bytes than pixels")
    image: pyvips.Image = pyvips.Image.new_from_memory(
        memoryview(data)[bitmap.start : end], words, abs(height), 1, _FORMATS[bitmap.bits]
    ).crop(0, 0, width, abs(height))
    channels = [_channel(image, mask) for mask in bitmap.masks]
    upright = channels[0].bandjoin(channels[1:])
    return (upright.flipver() if height > 0 else upright).copy(interpretation="srgb")


def _channel(image: pyvips.Image, mask: int) -> pyvips.Image:
    if mask == 0:
        return image.new_from_image(0).cast("uchar")
    shift = (mask & -mask).bit_length() - 1
    most = mask >> shift
    if most & most + 1:
        raise ValueError("unsupported bmp masks")
    bits = (image >> shift) & min(most, 0x7FFFFFFF)
    return bits.cast("uchar") if most == 255 else (bits * (255 / most)).rint().cast("uchar")


def find_profile(data: bytes) -> bytes:
    """Return the ICC profile that a version 5 header embeds, or b""."""
    if _integer(data, 14) < 124 or data[70:74] != _EMBEDDED:
        return b""
    start, size = 14 + _integer(data, 126), _integer(data, 130)
    return data[start : start + size] if start + size <= len(data) else b""


def tidy(data: bytes) -> bytes:
    """Rewrite OS/2's short header, two bits per pixel and oversized palettes in a form that Pillow reads.

    Raises ValueError for missing pixels.
    """
    if _integer(data, 14) == 16:
        start = (_integer(data, 10) + 24).to_bytes(4, "little")
        data = b"".join((data[:10], start, (40).to_bytes(4, "little"), data[18:30], bytes(24), data[30:]))
    if _integer(data, 14) < 40:
        return data
    bits, compression, colors = _integer(data, 28) & 0xFFFF, _integer(data, 30), _integer(data, 46)
    if bits == 2 and compression == _RGB:
        return _widen(data)
    if bits <= 8 and colors > 1 << bits:
        return data[:46] + (1 << bits).to_bytes(4, "little") + data[50:]
    return data


def _widen(data: bytes) -> bytes:
    """Convert two bits per pixel to four."""
    (width, height), start = read_size(data), _integer(data, 10)
    row, wider = -(-width // 16) * 4, -(-width // 8) * 4
    if start + row * abs(height) > len(data):
        raise ValueError("fewer bytes than pixels")
    pixels = bytearray(wider * abs(height))
    for number in range(abs(height)):
        packed = data[start + number * row : start + (number + 1) * row][: wider // 2]
        first = number * wider
        pixels[first : first + 2 * len(packed) : 2] = packed.translate(_LEFT)
        pixels[first + 1 : first + 2 * len(packed) : 2] = packed.translate(_RIGHT)
    colors = (_integer(data, 46) or 4).to_bytes(4, "little")
    return b"".join((data[:28], (4).to_bytes(2, "little"), data[30:46], colors, data[50:start], pixels))


def _integer(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")
