"""Codecs that libvips lacks, or that are faster in Pillow's wheel. The pixels or bytes are the same.

Only Pillow reads BMP and animated PNG. Measured at 1 MP on one core: AVIF is decoded in a third of the time, by dav1d
instead of libaom, and WebP encoded in nine tenths. libvips decodes JPEG, although its decoder, mozjpeg's, takes a tenth
longer than libjpeg-turbo: Pillow does not report data missing in the middle.
"""

import io
from collections.abc import Mapping
from typing import Any

import PIL.WebPImagePlugin  # noqa: F401  importing registers it; to find it, Pillow would load all its plugins, 4 MiB
import pyvips
from PIL import AvifImagePlugin, ExifTags, Image, PngImagePlugin

from shared_lib.pipeline.formats import Format

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # one core per worker
Image.MAX_IMAGE_PIXELS = None  # our own limits apply, before a pixel is decoded

ERRORS = (OSError, EOFError, RuntimeError, SyntaxError, ValueError)
"""Raised for broken images by Pillow's decoders, and by libheif's and libjxl's bindings."""

_MAX_LOOPS = 65_535  # the most that GIF and WebP can express
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_BANDS = {mode: bands for bands, mode in _MODES.items()}
_FIELDS = {"icc_profile": "icc-profile-data", "exif": "exif-data", "xmp": "xmp-data"}
_DEEP = {"uchar": ("b-w", "srgb"), "ushort": ("grey16", "rgb16"), "float": ("b-w", "srgb")}


def open_header(data: bytes, real: Format) -> Image.Image:
    """Read the header. Raises one of ERRORS."""
    return Image.open(io.BytesIO(data), formats=[real.value])


def orientation_of(header: Image.Image) -> int:
    """Return EXIF's orientation, where Pillow also puts an AVIF's own. XMP's is ignored, as everywhere else."""
    exif = Image.Exif()
    exif.load(header.info.get("exif", b""))
    return int(exif.get(ExifTags.Base.Orientation, 1))


def decode(data: bytes, real: Format, side: int, area: tuple[int, int], orientation: int) -> pyvips.Image:
    """Decode the first frame, averaged over squares of `side` px in an area (px) at the top left.

    Raises one of ERRORS, or MemoryError.
    """
    image = open_header(data, real)
    image.load()
    if image.mode not in _BANDS:
        image = image.convert("L" if image.mode == "1" else "RGB")
    if side > 1:
        image = image.reduce(side, box=(0, 0, *area))
    pixels = as_vips(image.tobytes(), image.size, _BANDS[image.mode], image.info)
    pixels.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return pixels


def decode_frames(data: bytes, orientation: int) -> pyvips.Image:
    """Decode an animated PNG, one frame below the other. Raises one of ERRORS, or MemoryError."""
    image = open_header(data, Format.PNG)
    # A default image that is no frame is for viewers without animations.
    first = 1 if image.info.get("default_image") else 0
    count = getattr(image, "n_frames", 1) - first
    pixels, delays = bytearray(), []
    for number in range(first, first + count):
        image.seek(number)
        pixels += _load_frame(image).tobytes()
        delays.append(round(image.info.get("duration", 0)))
    tall = as_vips(pixels, (image.width, image.height * count), 4, image.info)
    tall.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    tall.set_type(pyvips.GValue.gint_type, "page-height", image.height)
    tall.set_type(pyvips.GValue.gint_type, "n-pages", count)
    tall.set_type(pyvips.GValue.array_int_type, "delay", delays)
    tall.set_type(pyvips.GValue.gint_type, "loop", min(image.info.get("loop", 0), _MAX_LOOPS))
    return tall


def _load_frame(image: Image.Image) -> Image.Image:
    """Return the current frame of an animated PNG as RGBA."""
    # Pillow 13 blends a frame into its only copy of the previous pixels, which may have to be restored.
    before = getattr(image, "_prev_im", None)
    kept = before.copy() if before else None
    image.load()
    image._prev_im = kept  # type: ignore[attr-defined]  # noqa: SLF001
    if image.mode == "I;16":  # Pillow would clip it at 255; its data is little-endian
        return Image.frombytes("L", image.size, image.tobytes()[1::2]).convert("RGBA")
    return image.convert("RGBA")


def as_vips(
    pixels: bytes | bytearray | memoryview,
    size: tuple[int, int],
    bands: int,
    metadata: Mapping[Any, Any],
    depth: str = "uchar",
) -> pyvips.Image:
    """Return an upright image of these pixels, which are not copied, with Pillow's `exif`, `xmp` and `icc_profile`."""
    image = pyvips.Image.new_from_memory(pixels, *size, bands, depth)
    image = image.copy(interpretation=_DEEP[depth][bands > 2])
    for key, field in _FIELDS.items():
        if metadata.get(key):
            image.set_type(pyvips.GValue.blob_type, field, metadata[key])
    if metadata.get("exif"):
        _parse_exif(image)
    image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    return image


def _parse_exif(image: pyvips.Image) -> None:
    """Set a field for each EXIF tag, so that some can be kept. libvips does so only while it loads a file."""
    pixel = pyvips.Image.black(1, 1).copy()
    pixel.set_type(pyvips.GValue.blob_type, "exif-data", image.get("exif-data"))
    pixel = pyvips.Image.pngload_buffer(pixel.pngsave_buffer(keep="exif"))
    for field in pixel.get_fields():
        if field.startswith("exif-ifd") and not field.endswith("-Orientation"):
            image.set_type(pyvips.GValue.gstr_type, field, pixel.get(field))


def encode_webp(image: pyvips.Image, quality: int, method: int, *, lossless: bool) -> bytes:
    """Encode without metadata. `method` is libwebp's effort, 0 to 6."""
    # With four bytes per pixel, which is how Pillow stores RGB too, so that it does not copy them.
    still = as_pillow(image.bandjoin(255), "RGBX") if image.bands == 3 else as_pillow(image)
    file = io.BytesIO()
    still.save(file, "WEBP", quality=quality, method=method, lossless=lossless)
    return file.getvalue()


def encode_png_frames(image: pyvips.Image, compression: int, bits: int | None, metadata: Mapping[str, bytes]) -> bytes:
    """Encode an animated PNG. `compression` is zlib's, 0 to 9. With `bits`, all frames share one palette."""
    if bits is None:
        tall = as_pillow(image)
    else:
        tall = Image.open(io.BytesIO(image.pngsave_buffer(palette=True, bitdepth=bits, compression=1, keep="none")))
    height = image.get("page-height")
    first, *others = (tall.crop((0, top, tall.width, top + height)) for top in range(0, tall.height, height))
    described = PngImagePlugin.PngInfo()
    if "xmp" in metadata:
        described.add_itxt("XML:com.adobe.xmp", metadata["xmp"].decode(errors="replace"))
    file = io.BytesIO()
    first.save(
        file,
        "PNG",
        save_all=True,
        append_images=others,
        duration=image.get("delay"),
        loop=image.get("loop"),
        compress_level=compression,
        pnginfo=described,
        exif=metadata.get("exif"),
        icc_profile=metadata.get("icc_profile"),
    )
    return file.getvalue()


def as_pillow(image: pyvips.Image, mode: str | None = None) -> Image.Image:
    """Return it as a Pillow image. It has 8 bits per channel, in gray or RGB, with or without alpha.

    With the mode RGBX, the fourth channel is unused.
    """
    mode = mode or _MODES[image.bands]
    return Image.frombuffer(mode, (image.width, image.height), image.write_to_memory(), "raw", mode, 0, 1)
