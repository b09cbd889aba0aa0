"""Files that end too early. Most decoders notice; these two may stop reading before the missing part would matter."""

from shared_lib.pipeline.formats import Format

_SOS, _EOI = 0xDA, b"\xff\xd9"
_IEND = b"IEND\xaeB`\x82"  # the chunk's name and its CRC, which never vary


def is_truncated(data: bytes, real: Format) -> bool:
    """Tell whether the end of the image is missing. Bytes after the end do no harm: cameras append previews there."""
    if real is Format.JPEG:
        scan = _first_scan(data)
        # In entropy-coded data 0xFF is followed by 0 or a restart marker, so what is found after the first scan is an
        # end. From behind, because that is where it is.
        return scan is None or data.rfind(_EOI, scan) < 0
    return real is Format.PNG and data.rfind(_IEND) < 0


def _first_scan(data: bytes) -> int | None:
    """Where a JPEG's first scan starts, past the segments that may hold a preview with an end of its own."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        if data[at + 1] == 0xFF:  # padding
            at += 1
        elif data[at + 1] == _SOS:
            return at
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
