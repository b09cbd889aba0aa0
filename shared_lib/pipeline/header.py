"""What is read straight from a file's first bytes, for decoders that allocate or refuse by it when they are opened."""

import re
from collections.abc import Iterator
from itertools import islice

from shared_lib.pipeline.formats import Format

_PIXI = re.compile(rb"pixi\0\0\0\0[\x01-\x04]([\x01-\x10])")
_ISPE = re.compile(rb"ispe\0\0\0\0(.{4})(.{4})", re.DOTALL)
_META_BYTES = 4096  # where HEIF's properties are, before any pixel
_MAX_CHUNKS = 1_000  # of a PNG, before its pixels; libpng keeps no more either


def claimed_size(data: bytes, real: Format) -> tuple[int, int]:
    """Width and height, px, that the canvas of a GIF, WebP, AVIF or HEIC claims; 0 where the header makes no sense."""
    if real is Format.GIF:
        return _little(data[6:8]), _little(data[8:10])
    if real is Format.WEBP:
        return _webp_size(data)
    return _heif_size(data)


def count_png_frames(data: bytes) -> int:
    """The frames that a PNG's animation control claims (PNG, third edition, 11.3.7.1); 1 for a still one."""
    for kind, start in islice(_png_chunks(data), _MAX_CHUNKS):
        if kind == b"acTL":
            return max(1, int.from_bytes(data[start : start + 4], "big"))
        if kind == b"IDAT":
            break
    return 1


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Each chunk's type, and where its content starts."""
    at = 8
    while at + 8 <= len(data):
        yield data[at + 4 : at + 8], at + 8
        at += 12 + int.from_bytes(data[at : at + 4], "big")


def _heif_size(data: bytes) -> tuple[int, int]:
    """The largest image spatial extents (ISO/IEC 23008-12, 6.5.3): smaller ones are tiles and previews."""
    extents = [(int.from_bytes(w, "big"), int.from_bytes(h, "big")) for w, h in _ISPE.findall(data, 0, _META_BYTES)]
    return max(extents, key=lambda size: size[0] * size[1], default=(0, 0))


def avif_depth(data: bytes) -> int:
    """Bits a channel, by the first pixel information property (ISO/IEC 23008-12, 6.5.6); 8 where there is none."""
    told = _PIXI.search(data, 0, _META_BYTES)
    return told[1][0] if told else 8


def _webp_size(data: bytes) -> tuple[int, int]:
    """By the first chunk (RFC 9649, 2.5 to 2.7): VP8X and VP8L store width - 1 and height - 1."""
    kind = data[12:16]
    if kind == b"VP8X":
        return _little(data[24:27]) + 1, _little(data[27:30]) + 1
    if kind == b"VP8L":
        bits = _little(data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF
    return 0, 0


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
