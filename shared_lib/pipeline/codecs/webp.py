"""Still WebPs, decoded by the libwebp that Pillow brings along.

libvips has it decode in a second thread, and Pillow by way of an animation's canvas, so both take twice its processor
time. Measured for 2040 x 1356 px: 20 ms when scaled to 512 px, where libvips takes 39, and 28 at full size, where
Pillow takes 49. The pixels are the same.
"""

import ctypes
import math

import pyvips
from PIL import _webp

from shared_lib.pipeline.bounds import require_memory
from shared_lib.pipeline.codecs.header import claimed_size
from shared_lib.pipeline.formats import Format

# Whatever Pillow's module is linked to is found through it.
_LIBRARY = ctypes.CDLL(_webp.__file__)
_ABI = 0x0209  # WEBP_DECODER_ABI_VERSION, of which the library checks the first half
_OUT_OF_MEMORY = 1  # of VP8StatusCode
_WORKING_BYTES = 8  # per pixel, at most
_MAX_CHUNKS = 1_000  # before the pixels
_RGB, _RGBA = 0, 1  # of WEBP_CSP_MODE
_HAS_ANIMATION = 2  # of VP8X's flags
_FIELDS = ("icc-profile-data", "exif-data", "xmp-data", "orientation")


class _Pixels(ctypes.Structure):
    """WebPRGBABuffer, in the place of the larger WebPYUVABuffer."""

    _fields_ = (
        ("rgba", ctypes.c_void_p),
        ("stride", ctypes.c_int),
        ("size", ctypes.c_size_t),
        ("rest", ctypes.c_uint8 * 56),
    )


class _Output(ctypes.Structure):
    """WebPDecBuffer."""

    _fields_ = (
        ("colorspace", ctypes.c_int),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("is_external_memory", ctypes.c_int),
        ("pixels", _Pixels),
        ("padding", ctypes.c_uint32 * 4),
        ("private_memory", ctypes.c_void_p),
    )


class _Options(ctypes.Structure):
    """WebPDecoderOptions."""

    _fields_ = (
        ("before", ctypes.c_int * 7),
        ("use_scaling", ctypes.c_int),
        ("scaled_width", ctypes.c_int),
        ("scaled_height", ctypes.c_int),
        ("after", ctypes.c_int * 4),
        ("padding", ctypes.c_uint32 * 5),
    )


class _Config(ctypes.Structure):
    """WebPDecoderConfig, which begins with WebPBitstreamFeatures."""

    _fields_ = (("features", ctypes.c_uint32 * 10), ("output", _Output), ("options", _Options))


def is_still(data: bytes) -> bool:
    """Return whether it has no animation, not even one of a single frame."""
    return data[12:16] != b"VP8X" or not data[20] & _HAS_ANIMATION


def decode(data: bytes, header: pyvips.Image, size: tuple[int, int], *, scales: bool) -> pyvips.Image:
    """Decode to this size, px, which is the image's own unless it `scales`.

    `header` is what libvips has read: its metadata, and whether it has transparency. Raises ValueError, or OSError if
    memory was short.
    """
    width, height = size
    config = _Config()
    if not _LIBRARY.WebPInitDecoderConfigInternal(ctypes.byref(config), _ABI):
        raise RuntimeError("Pillow has a libwebp of another ABI")
    bands = 4 if header.hasalpha() else 3
    pixels = bytearray(width * height * bands)
    output, options = config.output, config.options
    output.colorspace = _RGBA if bands == 4 else _RGB
    output.is_external_memory = 1
    output.pixels.rgba = ctypes.addressof(ctypes.c_uint8.from_buffer(pixels))
    output.pixels.stride, output.pixels.size = width * bands, len(pixels)
    options.use_scaling, options.scaled_width, options.scaled_height = scales, width, height
    picture = _find_picture(data)
    status = _LIBRARY.WebPDecode(picture, ctypes.c_size_t(len(picture)), ctypes.byref(config))
    if status == _OUT_OF_MEMORY:  # or its transparency is corrupt
        require_memory(math.prod(claimed_size(data, Format.WEBP)) * _WORKING_BYTES)
    if status:
        raise ValueError(f"libwebp's status {status}")
    image = pyvips.Image.new_from_memory(pixels, width, height, bands, "uchar").copy(interpretation="srgb")
    for field in header.get_fields():
        if field in _FIELDS or field.startswith("exif-ifd"):
            image.set_type(header.get_typeof(field), field, header.get(field))
    return image


def _find_picture(data: bytes) -> bytes:
    """Return the chunks with pixels (RFC 9649, 2.7). libwebp would take what follows for a part of them."""
    at, start = 12, 0
    for _ in range(_MAX_CHUNKS):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2  # with the padding, which libwebp reads if the size is one too small
        if kind == b"ALPH":
            start = start or at
        if kind in (b"VP8 ", b"VP8L"):
            return data[start or at : end]
        at = end
    raise ValueError("no pixels")
