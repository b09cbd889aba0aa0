"""What an effect takes from a pixel's neighbours."""

import pyvips

from shared_lib.pipeline import operations as op
from shared_lib.pipeline.effects.channels import apart_from_alpha, premultiplied


def blur(do: op.Blur, image: pyvips.Image) -> pyvips.Image:
    return premultiplied(image, lambda it: it.gaussblur(do.sigma).cast(it.format))


def sharpen(do: op.Sharpen, image: pyvips.Image) -> pyvips.Image:
    if image.bands < 3:
        return apart_from_alpha(image, lambda it: it.sharpen(sigma=do.sigma).cast("uchar"))
    return image.sharpen(sigma=do.sigma)


def median(do: op.Median, image: pyvips.Image) -> pyvips.Image:
    size = (min(do.size, image.width, image.height) - 1) | 1  # a square needs a middle
    return apart_from_alpha(image, lambda it: it.median(size))


def pixelate(do: op.Pixelate, image: pyvips.Image) -> pyvips.Image:
    across, down = min(do.size, image.width), min(do.size, image.height)
    coarse = premultiplied(image, lambda it: it.shrink(across, down, ceil=True).cast(it.format))
    return coarse.zoom(across, down).crop(0, 0, image.width, image.height)
