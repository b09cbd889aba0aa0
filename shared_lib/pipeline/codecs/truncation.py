"""Truncated files. Most decoders notice; those of JPEG and PNG may stop reading before the missing part."""

from shared_lib.pipeline.codecs.header import list_jpeg_segments
from shared_lib.pipeline.formats import Format

_SOS, _EOI = b"\xda", b"\xff\xd9"
_IEND = b"IEND\xaeB`\x82"  # the chunk's name and its CRC, which are constant


def is_truncated(data: bytes, real: Format) -> bool:
    """Return whether the end of the image is missing. Bytes after the end are fine: cameras append previews there."""
    if real is Format.JPEG:
        # Skip the segments, which may hold a preview with an end of its own.
        scan = next((start for kind, start in list_jpeg_segments(data) if kind == _SOS), None)
        # In entropy-coded data 0xFF is followed by 0 or a restart marker, so any EOI after the first scan is the end.
        # Search backwards, because that is where it is.
        return scan is None or data.rfind(_EOI, scan) < 0
    return real is Format.PNG and data.rfind(_IEND) < 0
