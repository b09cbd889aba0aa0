"""What each operation of a recipe does to pixels. Descriptions and limits are in `recipe`; effects are here."""

import math

import pyvips

from shared_lib.pipeline.recipe import Resize

_KERNEL_RADIUS = 3  # px, of Lanczos 3


def cover(image: pyvips.Image, resize: Resize) -> pyvips.Image:
    """Scale so that the image just fills the size, and cut off, half on each side, what is over."""
    scale = scale_to_cover((image.width, image.height), resize)
    image = _cut_to_neighbourhood(image, resize, scale)
    image = _resample(
        image, max(resize.width, round(image.width * scale)), max(resize.height, round(image.height * scale))
    )
    return image.crop(
        (image.width - resize.width) // 2, (image.height - resize.height) // 2, resize.width, resize.height
    )


def scale_to_cover(size: tuple[int, int], resize: Resize) -> float:
    width, height = size
    return max(resize.width / width, resize.height / height)


def _cut_to_neighbourhood(image: pyvips.Image, resize: Resize, scale: float) -> pyvips.Image:
    """Drop what lies too far outside to matter: a 1 x 30,000 image would else be scaled to 100 x 3,000,000 first."""
    margin = math.ceil(_KERNEL_RADIUS * max(1.0, 1 / scale)) + 1
    width = _keep_parity(image.width, math.ceil(resize.width / scale) + 2 * margin)
    height = _keep_parity(image.height, math.ceil(resize.height / scale) + 2 * margin)
    return image.crop((image.width - width) // 2, (image.height - height) // 2, width, height)


def _keep_parity(length: int, wanted: int) -> int:
    """Cut evenly at both ends, so that the middle stays the middle."""
    return length if wanted >= length else wanted + (length - wanted) % 2


def _resample(image: pyvips.Image, width: int, height: int) -> pyvips.Image:
    """Scale to exactly width x height by Lanczos 3, with alpha premultiplied so that no dark fringe appears."""
    scale = (width / image.width, height / image.height)
    if not image.hasalpha():
        return image.resize(scale[0], vscale=scale[1])
    return image.premultiply().resize(scale[0], vscale=scale[1]).unpremultiply().cast(image.format)
