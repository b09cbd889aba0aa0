"""Alpha and colors, which most operations must treat apart."""

from collections.abc import Callable

from shared_lib.pipeline.parameters import Color
from shared_lib.pipeline.vips import Image

Change = Callable[[Image], Image]


def apart_from_alpha(image: Image, change: Change) -> Image:
    """Change the colors and leave transparency as it is."""
    if not image.hasalpha():
        return change(image)
    return change(image[: image.bands - 1]).bandjoin(image[image.bands - 1])


def premultiplied(image: Image, change: Change) -> Image:
    """Change colors weighed by their opacity, so that invisible ones do not leak out as a dark fringe."""
    if not image.hasalpha():
        return change(image)
    return change(image.premultiply()).unpremultiply().cast(image.format)


def in_linear_light(image: Image, change: Change) -> Image:
    """Change the light that the colors stand for, as floating-point numbers, by sRGB's transfer curve."""
    return change(image.colourspace("scrgb")).colourspace(image.interpretation).cast(image.format)


def in_color(image: Image) -> Image:
    """Convert gray to sRGB: three channels, or four with alpha."""
    return image.colourspace("srgb") if image.interpretation == "b-w" else image


def add_channels_for(image: Image, color: Color) -> tuple[Image, list[int]]:
    """Give an image the channels that it needs for a color beside it, and return the color's values in them."""
    values = rgba(color)
    is_gray = len(set(values[:3])) == 1
    if not is_gray:
        image = in_color(image)
    if values[3] < 255 and not image.hasalpha():
        image = image.addalpha()
    visible = values[:1] if image.bands < 3 else values[:3]
    return image, visible + values[3:] if image.hasalpha() else visible


def rgba(color: Color) -> list[int]:
    """Return red, green, blue and alpha, 0 to 255. Transparent is white, which is harmless where alpha gets lost."""
    if color == "transparent":
        return [255, 255, 255, 0]
    digits = color[1:]
    if len(digits) < 6:
        digits = "".join(digit * 2 for digit in digits)
    return list(bytes.fromhex(digits.ljust(8, "f")))
