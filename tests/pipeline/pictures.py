"""Images for the tests, in every format, from a few photographs and from scratch."""

import io
from pathlib import Path
from typing import Any

import pillow_heif
import pillow_jxl  # noqa: F401  # teaches Pillow JPEG XL
import pyvips
from PIL import Image

from shared_lib.pipeline.formats import Format, sniff

pillow_heif.register_heif_opener()

GOLDEN = Path(__file__).parents[1] / "golden"
PHOTOGRAPHS = sorted((GOLDEN / "photographs").glob("*.jpg"))

SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"><circle cx="30" cy="20" r="18" fill="#c33"/></svg>'
)

# Takes minutes to draw: noise of a hundred million octaves.
ENDLESS = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="9000" height="9000"><filter id="f">'
    b'<feTurbulence numOctaves="100000000" baseFrequency="0.05"/></filter>'
    b'<rect width="9000" height="9000" filter="url(#f)"/></svg>'
)

# By Format's names. Lossless where the format has it.
SUFFIXES = {
    "jpeg": ".jpg[Q=90]",
    "png": ".png",
    "gif": ".gif",
    "webp": ".webp[Q=90]",
    "avif": ".avif[Q=70,effort=0]",
    "tiff": ".tif[compression=deflate]",
}
# Formats that libvips does not write, by Pillow's names.
BY_PILLOW: dict[str, tuple[str, dict[str, Any]]] = {
    "bmp": ("BMP", {}),
    "heic": ("HEIF", {"quality": 95, "chroma": 444, "enc_params": {"preset": "ultrafast"}}),
    "jxl": ("JXL", {"lossless": True, "effort": 3, "num_threads": 0}),
}
FORMATS = [form.value for form in Format]
RASTER_FORMATS = [name for name in FORMATS if name != "svg"]

DELAYS = [50, 100, 150, 200, 40]
"""Of an animation's frames, ms, repeated from the sixth on."""


def photograph(width: int = 600) -> pyvips.Image:
    """Return a cup of coffee, at most 600 px wide."""
    return pyvips.Image.thumbnail(str(GOLDEN / "photographs" / "coffee.jpg"), width, height=10_000).copy_memory()


def plain(width: int, height: int, *color: float) -> pyvips.Image:
    """Return an image of one color, with 1 to 4 channels."""
    image = pyvips.Image.black(width, height, bands=len(color)) + list(color)
    return image.cast("uchar").copy(interpretation="srgb" if len(color) > 2 else "b-w")


def animation(suffix: str, frames: int = 5, width: int = 60, height: int = 40) -> bytes:
    """Return frames that get redder, with different delays, in three loops."""
    if suffix == ".png":
        first, *others = (to_pillow(plain(width, height, 50 * n, 100, 200)) for n in range(frames))
        return save(first, "PNG", save_all=True, append_images=others, duration=(DELAYS * frames)[:frames], loop=3)
    tall = pyvips.Image.arrayjoin([plain(width, height, 50 * n, 100, 200) for n in range(frames)], across=1).copy()
    tall.set_type(pyvips.GValue.gint_type, "page-height", height)
    tall.set_type(pyvips.GValue.array_int_type, "delay", (DELAYS * frames)[:frames])
    tall.set_type(pyvips.GValue.gint_type, "loop", 3)
    data: bytes = tall.write_to_buffer(suffix)
    return data


def encode(image: pyvips.Image, name: str) -> bytes:
    if name == "svg":
        return SVG
    if name in BY_PILLOW:
        form, options = BY_PILLOW[name]
        return save(to_pillow(image), form, **options)
    data: bytes = image.write_to_buffer(SUFFIXES[name])
    return data


def decode(data: bytes) -> pyvips.Image:
    if sniff(data) is Format.JXL:
        return from_pillow(Image.open(io.BytesIO(data)))
    return pyvips.Image.new_from_buffer(data, "").copy_memory()


def to_pillow(image: pyvips.Image) -> Image.Image:
    mode = ("L", "LA", "RGB", "RGBA")[image.bands - 1]
    return Image.frombytes(mode, (image.width, image.height), image.write_to_memory())


def from_pillow(image: Image.Image) -> pyvips.Image:
    bands = len(image.getbands())
    pixels = pyvips.Image.new_from_memory(image.tobytes(), image.width, image.height, bands, "uchar")
    return pixels.copy(interpretation="srgb" if bands > 2 else "b-w")


def save(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def sample(name: str) -> bytes:
    """Return a photograph in this format, some 10 kB. For SVG it is a drawing."""
    return encode(photograph(160), name)


def color_at(image: pyvips.Image, x: int, y: int) -> list[int]:
    return [round(value) for value in image.getpoint(x, y)]


def pack_jpeg(jpeg: bytes, folder: Path) -> bytes:
    """Pack a JPEG as JPEG XL, from which it can be restored byte for byte."""
    (folder / "image.jpg").write_bytes(jpeg)
    with Image.open(folder / "image.jpg") as image:
        return save(image, "JXL", lossless_jpeg=True, num_threads=0)
