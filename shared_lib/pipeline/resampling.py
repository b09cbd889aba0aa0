"""Fewer or more pixels of the same picture."""

from shared_lib.pipeline.channels import in_linear_light, premultiplied
from shared_lib.pipeline.vips import Image


def resample(image: Image, width: int, height: int, *, linear: bool = False) -> Image:
    """Scale to exactly width x height by Lanczos 3."""
    if (width, height) == (image.width, image.height):
        return image

    def scale(light: Image) -> Image:
        across, down = width / light.width, height / light.height
        return premultiplied(light, lambda colors: colors.resize(across, vscale=down))

    return in_linear_light(image, scale) if linear else scale(image)


def average(image: Image, side: int) -> Image:
    """Scale down by a whole number: each pixel becomes the mean of a square of `side` px."""
    return image if side == 1 else premultiplied(image, lambda colors: colors.shrink(side, side, ceil=True))
