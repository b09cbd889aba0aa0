"""HEIC: HEVC in HEIF, by libheif and libde265.

The binding is imported late, because a deployment may lack it. The zygote imports it for all workers.
"""

from typing import Any

import pyvips

from shared_lib.pipeline.bounds import require_memory
from shared_lib.pipeline.codecs.pillow import as_vips
from shared_lib.pipeline.formats import Format, import_codec

_WORKING_BYTES = 6  # per pixel, in libde265: three channels of 16 bits
_BANDS = {"L": 1, "I;16": 1, "LA": 2, "La": 2, "LA;16": 2, "La;16": 2, "RGB": 3, "RGBA": 4, "RGBa": 4}
_PREMULTIPLIED = ("La", "La;16", "RGBa")


def read_size(data: bytes) -> tuple[int, int]:
    """Return width and height, px, upright. `irot` and `imir` turn the image; EXIF's orientation means nothing here.

    Raises one of pillow.ERRORS.
    """
    size: tuple[int, int] = _open(data).size
    return size


def decode(data: bytes) -> pyvips.Image:
    """Decode the primary image, upright. Raises one of pillow.ERRORS."""
    primary = _open(data)
    try:
        pixels = primary.data
    except (RuntimeError, ValueError):
        require_memory(primary.size[0] * primary.size[1] * _WORKING_BYTES)
        raise
    image = as_vips(
        pixels,
        primary.size,
        _BANDS[primary.mode],
        primary.info,
        "ushort" if primary.mode.endswith(";16") else "uchar",
    )
    return image.unpremultiply().cast(image.format) if primary.mode in _PREMULTIPLIED else image


def _open(data: bytes) -> Any:  # noqa: ANN401  # imported late, so its types are unknown
    library: Any = import_codec(Format.HEIC)
    library.options.DECODE_THREADS = 1  # one core per worker
    library.options.THUMBNAILS = library.options.DEPTH_IMAGES = library.options.AUX_IMAGES = False
    file = library.open_heif(data)
    if len(file) == 0:
        raise ValueError("the HEIF file has no image")
    return file
