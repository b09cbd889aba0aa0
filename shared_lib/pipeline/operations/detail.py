"""Blur, sharpness and noise: operations that combine a pixel with its neighbors."""

from dataclasses import dataclass
from typing import Annotated, Literal

from shared_lib.constraints import Bounds, IntegerBounds
from shared_lib.limits import MAX_SIDE
from shared_lib.pipeline.channels import apart_from_alpha, premultiplied
from shared_lib.pipeline.operations.operation import Context, Operation
from shared_lib.pipeline.parameters import Factor
from shared_lib.pipeline.vips import Image, pyvips

_Weight = Annotated[float, Bounds(ge=-1000, le=1000, allow_inf_nan=False)]
_Row = Annotated[tuple[_Weight, ...], Bounds(min_length=1, max_length=15, strict=False, fail_fast=True)]


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
    amount: Factor | None = None
    """Times the difference from the blurred image. By default edges are sharpened, within limits, and no flat areas."""

    def apply(self, image: Image, _: Context) -> Image:
        how = {} if self.amount is None else {"m1": self.amount, "m2": self.amount, "y2": 100, "y3": 100}
        if image.bands < 3:
            return apart_from_alpha(image, lambda gray: gray.sharpen(sigma=self.sigma, **how).cast("uchar"))
        return image.sharpen(sigma=self.sigma, **how)


@dataclass(frozen=True, kw_only=True)
class Noise(Operation):
    """Add the same Gaussian noise to all channels."""

    kind: Literal["noise"] = "noise"
    sigma: Annotated[float, Bounds(gt=0, le=255)]
    """Standard deviation, of 255."""
    seed: Annotated[int, IntegerBounds(ge=0, le=2_147_483_647)] = 0
    """The same seed gives the same noise."""

    def apply(self, image: Image, _: Context) -> Image:
        noise = pyvips.Image.gaussnoise(image.width, image.height, mean=0, sigma=self.sigma, seed=self.seed)

        def add(colors: Image) -> Image:
            return (colors + noise).rint().cast("uchar").copy(interpretation=colors.interpretation)

        return apart_from_alpha(image, add)


@dataclass(frozen=True, kw_only=True)
class Convolve(Operation):
    """Replace each pixel by the sum of its neighbors, weighed by a matrix of odd width and height."""

    kind: Literal["convolve"] = "convolve"
    matrix: Annotated[tuple[_Row, ...], Bounds(min_length=1, max_length=15, strict=False, fail_fast=True)]
    normalize: bool = True
    """Divide by the sum of the matrix, unless that is 0."""

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.matrix}
        if len(widths) != 1 or min(widths) % 2 == 0 or len(self.matrix) % 2 == 0:
            raise ValueError("the matrix has an odd number of rows, all of one odd width")

    def apply(self, image: Image, _: Context) -> Image:
        total = sum(map(sum, self.matrix))
        scale = total if self.normalize and total else 1
        matrix = pyvips.Image.new_from_array([[*row] for row in self.matrix], scale=scale)
        return premultiplied(image, lambda colors: colors.conv(matrix, precision="float").cast("uchar"))


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
