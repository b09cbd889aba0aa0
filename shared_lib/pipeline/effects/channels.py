"""Alpha and inks: what most effects must treat apart from colour."""

from collections.abc import Callable

import pyvips

from shared_lib.pipeline.parameters import Colour

Change = Callable[[pyvips.Image], pyvips.Image]


def apart_from_alpha(image: pyvips.Image, change: Change) -> pyvips.Image:
    """Change the colours and leave transparency as it is."""
    if not image.hasalpha():
        return change(image)
    return change(image[: image.bands - 1]).bandjoin(image[image.bands - 1])


def premultiplied(image: pyvips.Image, change: Change) -> pyvips.Image:
    """Change colours weighed by their opacity, so that what nobody sees does not leak out as a dark fringe."""
    if not image.hasalpha():
        return change(image)
    return change(image.premultiply()).unpremultiply().cast(image.format)


def in_linear_light(image: pyvips.Image, change: Change) -> pyvips.Image:
    """Change the light that the colours stand for, as floating-point numbers, by sRGB's transfer curve."""
    return change(image.colourspace("scrgb")).colourspace(image.interpretation).cast(image.format)


def in_colour(image: pyvips.Image) -> pyvips.Image:
    """Three channels, or four: gray becomes sRGB."""
    return image.colourspace("srgb") if image.interpretation == "b-w" else image


def opaque_or_not(image: pyvips.Image, colour: Colour) -> tuple[pyvips.Image, list[int]]:
    """Give an image the channels that it takes to show a colour beside it, and the colour's values in them."""
    ink = rgba(colour)
    gray = len(set(ink[:3])) == 1
    if not gray:
        image = in_colour(image)
    if ink[3] < 255 and not image.hasalpha():
        image = image.addalpha()
    values = ink[:1] if image.bands < 3 else ink[:3]
    return image, values + ink[3:] if image.hasalpha() else values


def rgba(colour: Colour) -> list[int]:
    """Red, green, blue and alpha, 0 to 255; transparent is white, so that it is harmless where alpha gets lost."""
    if colour == "transparent":
        return [255, 255, 255, 0]
    digits = colour[1:]
    if len(digits) < 6:
        digits = "".join(digit * 2 for digit in digits)
    return list(bytes.fromhex(digits.ljust(8, "f")))
