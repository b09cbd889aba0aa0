"""Images made for the tests: every format, from a few photographs and from nothing."""

from pathlib import Path

import pyvips

GOLDEN = Path(__file__).parents[1] / "golden"
PHOTOGRAPHS = sorted((GOLDEN / "photographs").glob("*.jpg"))

SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"><circle cx="30" cy="20" r="18" fill="#c33"/></svg>'
)

# Spins for minutes: noise of a hundred million octaves.
ENDLESS = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="9000" height="9000"><filter id="f">'
    b'<feTurbulence numOctaves="100000000" baseFrequency="0.05"/></filter>'
    b'<rect width="9000" height="9000" filter="url(#f)"/></svg>'
)

# By the names that Format gives them; lossless where the format can be.
SUFFIXES = {
    "jpeg": ".jpg[Q=90]",
    "png": ".png",
    "gif": ".gif",
    "webp": ".webp[Q=90]",
    "avif": ".avif[Q=70,effort=0]",
    "tiff": ".tif[compression=deflate]",
}
RASTER_FORMATS = list(SUFFIXES)
FORMATS = [*RASTER_FORMATS, "svg"]

DELAYS = [50, 100, 150, 200, 40]
"""Of an animation's frames, ms; from the sixth on again."""


def photograph(width: int = 600) -> pyvips.Image:
    """A cup of coffee, at most 600 px wide."""
    return pyvips.Image.thumbnail(str(GOLDEN / "photographs" / "coffee.jpg"), width, height=10_000).copy_memory()


def plain(width: int, height: int, *colour: float) -> pyvips.Image:
    """One colour all over: 1 to 4 channels."""
    image = pyvips.Image.black(width, height, bands=len(colour)) + list(colour)
    return image.cast("uchar").copy(interpretation="srgb" if len(colour) > 2 else "b-w")


def animation(suffix: str, frames: int = 5, width: int = 60, height: int = 40) -> bytes:
    """Frames that get redder, each shown for another time, three times over."""
    tall = pyvips.Image.arrayjoin([plain(width, height, 50 * n, 100, 200) for n in range(frames)], across=1).copy()
    tall.set_type(pyvips.GValue.gint_type, "page-height", height)
    tall.set_type(pyvips.GValue.array_int_type, "delay", (DELAYS * frames)[:frames])
    tall.set_type(pyvips.GValue.gint_type, "loop", 3)
    data: bytes = tall.write_to_buffer(suffix)
    return data


def encode(image: pyvips.Image, name: str) -> bytes:
    if name == "svg":
        return SVG
    data: bytes = image.write_to_buffer(SUFFIXES[name])
    return data


def decode(data: bytes) -> pyvips.Image:
    return pyvips.Image.new_from_buffer(data, "").copy_memory()


def sample(name: str) -> bytes:
    """A photograph in the given format, some 10 kB; for SVG a drawing."""
    return encode(photograph(160), name)


def colour_at(image: pyvips.Image, x: int, y: int) -> list[int]:
    return [round(value) for value in image.getpoint(x, y)]
