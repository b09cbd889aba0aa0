"""JPEG XL, by libjxl. The header is read here, because the library's binding decodes the whole image at once.

The binding is imported late, because a deployment may lack it. The zygote imports it for all workers.
"""

import io
from collections.abc import Mapping
from itertools import islice
from types import ModuleType

import pyvips

from shared_lib.pipeline.bounds import require_memory
from shared_lib.pipeline.codecs.bmff import list_boxes
from shared_lib.pipeline.codecs.pillow import as_pillow, as_vips
from shared_lib.pipeline.formats import Format, import_codec

_WORKING_BYTES = 20  # per pixel, at most: four channels of 32 bits while decoding, and of 8 in the result
_HEADER_BYTES = 16  # more than enough for size and orientation
_MAX_BOXES = 1_000  # before the codestream
_SIDE_BITS = (9, 13, 18, 30)
# Width to height, by the three bits that may replace the width.
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_BANDS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1, "F": 1, "F;16": 1}
_DEPTHS = {"I;16": "ushort", "F": "float", "F;16": "float"}  # of gray; colors are always decoded to 8 bits


def read_size(data: bytes) -> tuple[int, int]:
    """Return width and height, px, upright as decoders return it, or 0 if there are none (ISO/IEC 18181-1, annex D)."""
    header = _find_codestream(data)[2:]
    if not header:
        return 0, 0
    bits = _Bits(header)
    is_small = bits.take(1)
    height = _take_side(bits, is_small=is_small)
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio]
        width = height * across // down
    else:
        width = _take_side(bits, is_small=is_small)
    has_defaults = bits.take(1)
    orientation = 1 + bits.take(3) if not has_defaults and bits.take(1) else 1
    return (height, width) if orientation > 4 else (width, height)


def decode(data: bytes) -> pyvips.Image:
    """Decode the first frame, upright. Raises one of pillow.ERRORS."""
    try:
        is_jpeg, info, pixels, profile, boxes = _binding().Decoder(num_threads=0)(data)
    except RuntimeError:
        width, height = read_size(data)
        require_memory(width * height * _WORKING_BYTES)
        raise
    if is_jpeg:  # a JPEG that was packed without loss
        return pyvips.Image.jpegload_buffer(pixels, fail_on="error").copy_memory().autorot()
    found = {box.box_type: box.data for box in boxes}
    # EXIF follows the offset of its TIFF header, which is 0.
    metadata = {"icc_profile": profile, "exif": found.get(b"Exif", b"")[4:], "xmp": found.get(b"xml ")}
    image = as_vips(pixels, (info.width, info.height), _BANDS[info.mode], metadata, _DEPTHS.get(info.mode, "uchar"))
    return image.linear(255, 0, uchar=True) if image.format == "float" else image


def encode(image: pyvips.Image, effort: int, quality: int | None, metadata: Mapping[str, bytes]) -> bytes:
    """Encode, without loss if quality is None. `effort` is libjxl's, 1 to 9. The binding takes no ICC profile."""
    _binding()
    options = {"lossless": True} if quality is None else {"quality": quality}
    exif = bytes(4) + metadata["exif"].removeprefix(b"Exif\0\0") if "exif" in metadata else None
    file = io.BytesIO()
    as_pillow(image).save(file, "JXL", effort=effort, num_threads=0, exif=exif, xmp=metadata.get("xmp"), **options)
    return file.getvalue()


def _binding() -> ModuleType:
    return import_codec(Format.JXL)


def _take_side(bits: "_Bits", *, is_small: int) -> int:
    return 8 * (bits.take(5) + 1) if is_small else bits.take(_SIDE_BITS[bits.take(2)]) + 1


def _find_codestream(data: bytes) -> bytes:
    """Return the codestream's first bytes. A container may hold it in parts (ISO/IEC 18181-2, 9.8 and 9.9)."""
    if data.startswith(b"\xff\x0a"):
        return data[:_HEADER_BYTES]
    found = b""
    for kind, start, end in islice(list_boxes(data), _MAX_BOXES):
        if kind == b"jxlc":
            return data[start : min(end, start + _HEADER_BYTES)]
        if kind == b"jxlp":
            found += data[start + 4 : min(end, start + 4 + _HEADER_BYTES)]
        if len(found) >= _HEADER_BYTES:
            break
    return found


class _Bits:
    """Reads numbers of any length in bits, least significant first."""

    def __init__(self, data: bytes) -> None:
        self._remaining = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self._remaining & ((1 << count) - 1)
        self._remaining >>= count
        return value
