"""Facts read directly from a file's header, for decoders that allocate memory or fail by them as soon as they open."""

import re
from collections.abc import Collection, Iterator
from itertools import islice, takewhile

from shared_lib.pipeline.codecs.gif import read_screen
from shared_lib.pipeline.formats import Format

_ISPE = re.compile(rb"ispe\0\0\0\0(.{4})(.{4})", re.DOTALL)
_META_BYTES = 4096  # HEIF's properties are in these, before any pixel
_MARKER = re.compile(rb"\xff([^\0\xff])", re.DOTALL)  # of a JPEG
_SOS = b"\xda"
_LOSSLESS = {b"\xc3", b"\xc7", b"\xcb", b"\xcf"}
_MAX_CHUNKS = 1_000  # of a PNG, before its pixels; libpng keeps no more either


def claimed_size(data: bytes, real: Format) -> tuple[int, int]:
    """Return the canvas of a GIF, WebP, AVIF or HEIC: width and height, px, or 0 if the header is invalid."""
    if real is Format.GIF:
        return read_screen(data)[:2]
    if real is Format.WEBP:
        return _webp_size(data)
    return _heif_size(data)


def count_png_frames(data: bytes) -> int:
    """Return the number of frames in a PNG's `acTL` chunk (PNG, third edition, 11.3.7.1), or 1 for a still one."""
    control = find_png_chunks(data, {b"acTL"}).get(b"acTL", b"")
    return max(1, int.from_bytes(control[:4], "big"))


def find_png_chunks(data: bytes, wanted: Collection[bytes]) -> dict[bytes, bytes]:
    """Return the first 32 bytes of these chunks, if they come before the pixels."""
    before_pixels = takewhile(lambda chunk: chunk[0] != b"IDAT", islice(_png_chunks(data), _MAX_CHUNKS))
    return {kind: data[start : min(end, start + 32)] for kind, start, end in before_pixels if kind in wanted}


def is_lossless_jpeg(data: bytes) -> bool:
    """Return whether it uses JPEG's lossless process (ITU-T T.81, table B.1), whose decoder cannot scale."""
    return any(kind in _LOSSLESS for kind, _ in list_jpeg_segments(data))


def list_jpeg_segments(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the markers up to the first scan, and where each ends. Like decoders, skip bytes between segments."""
    at = 2
    while marker := _MARKER.search(data, at):
        yield marker[1], marker.end()
        if marker[1] == _SOS:
            break
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's type, and where its content starts and ends."""
    at = 8
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at + 8, end
        at = end + 4


def _heif_size(data: bytes) -> tuple[int, int]:
    """Return the largest image spatial extents (ISO/IEC 23008-12, 6.5.3). Smaller ones are of tiles and previews."""
    extents = [(int.from_bytes(w, "big"), int.from_bytes(h, "big")) for w, h in _ISPE.findall(data, 0, _META_BYTES)]
    return max(extents, key=lambda size: size[0] * size[1], default=(0, 0))


def _webp_size(data: bytes) -> tuple[int, int]:
    """Read the first chunk (RFC 9649, 2.5 to 2.7). VP8X and VP8L store width - 1 and height - 1."""
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
