"""Sizes read straight from a file's first bytes, for decoders that allocate a whole image when they are opened."""

from shared_lib.pipeline.formats import Format


def claimed_size(data: bytes, real: Format) -> tuple[int, int] | None:
    """Width and height, px, of a GIF's or WebP's canvas, 0 where the header makes no sense; None for other formats."""
    if real is Format.GIF:
        return _little(data[6:8]), _little(data[8:10])
    if real is Format.WEBP:
        return _webp_size(data)
    return None


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
