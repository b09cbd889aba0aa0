"""Blur, sharpness and noise: operations that combine a pixel with its neighbors."""

from dataclasses import dataclass
from typing import Annotated, Literal

from shared_lib.constraints import Bounds, IntegerBounds
from shared_lib.limits import MAX_SIDE
from shared_lib.pipeline.channels import apart_from_alpha, premultiplied
from shared_lib.pipeline.operations.operation import Context, Operation
from shared_lib.pipeline.vips import Image


@dataclass(frozen=True, kw_only=True)
class Blur(Operation):
    """Gaussian blur, standard deviation in px."""

    kind: Literal["blur"] = "blur"
    sigma: Annotated[float, Bounds(ge=0.3, le=100)]

    def apply(self, image: Image, _: Context) -> Image:
        return premultiplied(image, lambda colors: colors.gaussblur(self.sigma).cast(colors.format))


@dataclass(frozen=True, kw_only=True)
class Sharpen(Operation):
    """Unsharp mask on lightness alone, so that no colors appear."""

    kind: Literal["sharpen"] = "sharpen"
    sigma: Annotated[float, Bounds(ge=0.3, le=10)] = 0.5

    def apply(self, image: Image, _: Context) -> Image:
        if image.bands < 3:
            return apart_from_alpha(image, lambda gray: gray.sharpen(sigma=self.sigma).cast("uchar"))
        return image.sharpen(sigma=self.sigma)


@dataclass(frozen=True, kw_only=True)
class Median(Operation):
    """Remove specks smaller than half a square of `size` px."""

    kind: Literal["median"] = "median"
    size: Annotated[int, IntegerBounds(ge=3, le=15)] = 3

    def apply(self, image: Image, _: Context) -> Image:
        size = (min(self.size, image.width, image.height) - 1) | 1  # a square needs a middle
        return apart_from_alpha(image, lambda colors: colors.median(size))


@dataclass(frozen=True, kw_only=True)
class Pixelate(Operation):
    """Draw in squares of `size` px."""

    kind: Literal["pixelate"] = "pixelate"
    size: Annotated[int, IntegerBounds(ge=2, le=MAX_SIDE)]

    def apply(self, image: Image, _: Context) -> Image:
        across, down = min(self.size, image.width), min(self.size, image.height)
        coarse = premultiplied(image, lambda colors: colors.shrink(across, down, ceil=True).cast(colors.format))
        return coarse.zoom(across, down).crop(0, 0, image.width, image.height)
