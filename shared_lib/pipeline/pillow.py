"""Codecs that are faster in Pillow's wheel than in libvips', with the same pixels or bytes in the end.

Measured at 1 MP on one core: AVIF is decoded in a third of the time, by dav1d instead of libaom; WebP in half of it at
full size, and encoded in nine tenths. JPEG is left to libvips although its decoder, mozjpeg's, takes a tenth longer
than libjpeg-turbo: Pillow does not say when data is missing in the middle.
"""

import io

import pyvips
from PIL import AvifImagePlugin, ExifTags, Image

from shared_lib.pipeline.formats import Format

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # one core per child
Image.MAX_IMAGE_PIXELS = None  # held against our own limits, before a pixel is decoded

COMPLAINTS = (OSError, RuntimeError, SyntaxError, ValueError)
"""What its decoders raise for what is broken."""

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_FIELDS = {"icc-profile-data": "icc_profile", "exif-data": "exif", "xmp-data": "xmp"}


def open_header(data: bytes, real: Format) -> Image.Image:
    """Read the header. Raises one of COMPLAINTS for what is broken."""
    return Image.open(io.BytesIO(data), formats=[real.value])


def orientation_of(header: Image.Image) -> int:
    return int(header.getexif().get(ExifTags.Base.Orientation, 1))


def decode(data: bytes, real: Format, shrink: int, orientation: int) -> pyvips.Image:
    """Decode the first frame, averaged over squares of `shrink` px. Raises one of COMPLAINTS, or MemoryError."""
    image = open_header(data, real)
    image.load()
    if shrink > 1:
        image = image.reduce(shrink)
    bands = len(image.getbands())
    pixels = pyvips.Image.new_from_memory(image.tobytes(), image.width, image.height, bands, "uchar")
    pixels = pixels.copy(interpretation="srgb" if bands > 2 else "b-w")
    pixels.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    for field, key in _FIELDS.items():
        if image.info.get(key):
            pixels.set_type(pyvips.GValue.blob_type, field, image.info[key])
    return pixels


def encode_webp(image: pyvips.Image, quality: int, method: int, *, lossless: bool) -> bytes:
    """Encode without metadata; `method` is libwebp's effort, 0 to 6."""
    file = io.BytesIO()
    from_vips(image).save(file, "WEBP", quality=quality, method=method, lossless=lossless)
    return file.getvalue()


def from_vips(image: pyvips.Image) -> Image.Image:
    mode = _MODES[image.bands]
    return Image.frombuffer(mode, (image.width, image.height), image.write_to_memory(), "raw", mode, 0, 1)
