"""Kinds of BMP that Pillow does not read: any masks, alpha, run lengths, two bits per pixel, odd palettes, profiles."""

import struct
from typing import NamedTuple

import pyvips

_RGB, _RUNS_OF_8, _RUNS_OF_4, _BITFIELDS, _ALPHA_BITFIELDS = 0, 1, 2, 3, 6  # compressions
_BITS_OF_RUNS = {_RUNS_OF_8: 8, _RUNS_OF_4: 4}
_END_OF_LINE, _END_OF_BITMAP, _MOVE = 0, 1, 2  # after a zero. More is a number of pixels that follow as they are
_NIBBLES = [bytes((byte >> 4, byte & 15)) for byte in range(256)]
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
    """Rewrite OS/2's short header, run lengths, two bits per pixel and oversized palettes in a form that we read.

    Raises ValueError for missing pixels.
    """
    if _integer(data, 14) == 16:
        start = (_integer(data, 10) + 24).to_bytes(4, "little")
        data = b"".join((data[:10], start, (40).to_bytes(4, "little"), data[18:30], bytes(24), data[30:]))
    if _integer(data, 14) < 40:
        return data
    bits, compression, colors = _integer(data, 28) & 0xFFFF, _integer(data, 30), _integer(data, 46)
    if bits == _BITS_OF_RUNS.get(compression):
        return _expand(data, bits)
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


def _expand(data: bytes, bits: int) -> bytes:
    """Write each pixel of run lengths out. Those that none covers become transparent, as browsers show them.

    Raises ValueError for missing pixels.
    """
    width, height = read_size(data)
    pixels, covered = _read_runs(data, width, abs(height), bits)
    first, colors = 14 + _integer(data, 14), min(_integer(data, 46) or 1 << bits, 1 << bits)
    palette = data[first : min(first + 4 * colors, _integer(data, 10))]
    if b"\0" not in covered:
        padding = bytes(-width % 4)
        rows = [pixels] if not padding else (pixels[at : at + width] + padding for at in range(0, len(pixels), width))
        head = struct.pack("<IiiHHI12xII", 40, width, height, 1, 8, _RGB, len(palette) // 4, 0)
        return b"".join((b"BM", struct.pack("<8xI", 54 + len(palette)), head, palette, *rows))
    expanded = bytearray(4 * len(pixels))
    for channel in range(3):
        expanded[channel::4] = pixels.translate(palette[channel::4].ljust(256, b"\0"))
    expanded[3::4] = covered
    head = struct.pack("<IiiHHI20x4I", 56, width, height, 1, 32, _BITFIELDS, 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    return b"".join((b"BM", struct.pack("<8xI", 70), head, expanded))


def _read_runs(data: bytes, width: int, height: int, bits: int) -> tuple[bytearray, bytearray]:
    """Return the colors of all pixels, as numbers in the palette, and 255 for each that is covered."""
    pixels, covered = bytearray(width * height), bytearray(width * height)
    column = row = 0
    at = _integer(data, 10)
    while row < height:
        if at + 1 >= len(data):
            if b"\0" in covered:
                raise ValueError("fewer bytes than pixels")
            break
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            run = (_NIBBLES[value] if bits == 4 else data[at - 1 : at]) * count
        elif value == _END_OF_LINE:
            column, row = 0, row + 1
            continue
        elif value == _END_OF_BITMAP:
            break
        elif value == _MOVE:
            move = data[at : at + 2].ljust(2, b"\0")
            column, row, at = column + move[0], row + move[1], at + 2
            continue
        else:
            count, length = value, -(-value * bits // 16) * 2  # padded to a multiple of 16 bits
            run = data[at : at + length]
            run = b"".join(map(_NIBBLES.__getitem__, run)) if bits == 4 else run
            at += length
        run = run[: min(count, max(width - column, 0))]
        place = row * width + column
        pixels[place : place + len(run)] = run
        covered[place : place + len(run)] = b"\xff" * len(run)
        column += len(run)
    return pixels, covered


def _integer(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")
