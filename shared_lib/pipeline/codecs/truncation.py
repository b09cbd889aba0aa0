"""Files that end too early. Most decoders notice; these two may stop reading before the missing part would matter."""

from shared_lib.pipeline.codecs.header import list_jpeg_segments
from shared_lib.pipeline.formats import Format

_SOS, _EOI = b"\xda", b"\xff\xd9"
_IEND = b"IEND\xaeB`\x82"  # the chunk's name and its CRC, which never vary


def is_truncated(data: bytes, real: Format) -> bool:
    """Tell whether the end of the image is missing. Bytes after the end do no harm: cameras append previews there."""
    if real is Format.JPEG:
        # Past the segments that may hold a preview with an end of its own.
        scan = next((start for kind, start in list_jpeg_segments(data) if kind == _SOS), None)
        # In entropy-coded data 0xFF is followed by 0 or a restart marker, so what is found after the first scan is an
        # end. From behind, because that is where it is.
        return scan is None or data.rfind(_EOI, scan) < 0
    return real is Format.PNG and data.rfind(_IEND) < 0
