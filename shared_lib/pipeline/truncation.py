"""Files that end too early. Most decoders notice; these two may stop reading before the missing part would matter."""

import re

from shared_lib.pipeline.formats import Format

_SOS, _EOI = b"\xda", b"\xff\xd9"
_MARKER = re.compile(rb"\xff+([^\0\xff])", re.DOTALL)
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
    """Where a JPEG's first scan starts, past the segments that may hold a preview with an end of its own.

    What lies between two segments is skipped, as decoders do.
    """
    at = 2
    while marker := _MARKER.search(data, at):
        if marker[1] == _SOS:
            return marker.start(1)
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return None
