"""Scaling to a size."""

import math
from dataclasses import dataclass
from typing import Literal

from shared_lib.pipeline.gravity import Gravity, find_offset
from shared_lib.pipeline.operations.geometry import place_on_canvas
from shared_lib.pipeline.operations.operation import Context, Operation
from shared_lib.pipeline.parameters import Color, Side
from shared_lib.pipeline.resampling import resample
from shared_lib.pipeline.vips import Image

_KERNEL_RADIUS = 3  # px, of Lanczos 3
_WASTE = 4  # times the result's area; a cover that would scale more pixels than that crops the source first
_SMART_WASTE = 20  # the same for a smart cover, which needs all pixels; beyond it the middle is kept


@dataclass(frozen=True, kw_only=True)
class Resize(Operation):
    """Scale to a size.

    `cover` fills it and crops the rest. `contain` fits into it and adds background. `fill` distorts. `inside` fits into
    it and `outside` around it, keeping the aspect ratio, so that one side may differ. With width or height alone, the
    other one follows from the aspect ratio, whatever the fit.
    """

    kind: Literal["resize"] = "resize"
    width: Side | None = None
    height: Side | None = None
    fit: Literal["cover", "contain", "fill", "inside", "outside"] = "cover"
    gravity: Gravity = "center"
    enlarge: bool = True
    background: Color = "transparent"
    """Around a contained image."""
    linear: bool = False
    """Average light instead of the stored numbers, so that fine detail keeps its brightness. Slower."""

    def __post_init__(self) -> None:
        if self.width is None and self.height is None:
            raise ValueError("width, height or both are needed")
        if self.gravity == "smart" and self.fit != "cover":
            raise ValueError("smart gravity chooses what cover crops; it has no meaning otherwise")

    def apply(self, image: Image, _: Context) -> Image:
        return self.scale(image, (image.width, image.height))

    def scale(self, image: Image, original: tuple[int, int]) -> Image:
        """Scale to the size that follows from the original's, px, of which the image may have fewer pixels."""
        scale = self._scales(original)
        if self.fit == "cover" and self.width and self.height:
            return self._cover(image, self._scales((image.width, image.height))[0], (self.width, self.height))
        size = max(1, round(original[0] * scale[0])), max(1, round(original[1] * scale[1]))
        scaled = resample(image, *size, linear=self.linear)
        if self.fit == "contain" and self.width and self.height:
            return place_on_canvas(scaled, (self.width, self.height), self.gravity, self.background)
        return scaled

    def needed_scale(self, size: tuple[int, int]) -> float:
        scale = max(self._scales(size))
        return max(1.0, scale) if self.linear else scale  # decoders that scale average stored numbers, not light

    @property
    def depends_on_content(self) -> bool:
        return self.gravity == "smart"

    def _scales(self, size: tuple[int, int]) -> tuple[float, float]:
        """Return how much wider and how much higher the image becomes."""
        sides = zip((self.width, self.height), size, strict=True)
        ratios = [wanted / present for wanted, present in sides if wanted is not None]
        if len(ratios) == 1:
            across = down = ratios[0]
        elif self.fit == "fill":
            across, down = ratios
        elif self.fit in {"cover", "outside"}:
            across = down = max(ratios)
        else:
            across = down = min(ratios)
        return (across, down) if self.enlarge else (min(1.0, across), min(1.0, down))

    def _cover(self, image: Image, scale: float, wanted: tuple[int, int]) -> Image:
        width, height = wanted
        if not self.enlarge:
            width, height = min(width, image.width), min(height, image.height)
        size = max(width, round(image.width * scale)), max(height, round(image.height * scale))
        waste = size[0] * size[1] / (width * height)
        if self.gravity == "smart" and waste <= _SMART_WASTE:
            scaled = resample(image, *size, linear=self.linear).copy_memory()
            return scaled.smartcrop(width, height, interesting="attention")
        left, top = find_offset(self.gravity, size, (width, height))
        if waste > _WASTE:
            return self._cover_part(image, scale, (left, top, width, height))
        return resample(image, *size, linear=self.linear).crop(left, top, width, height)

    def _cover_part(self, image: Image, scale: float, area: tuple[int, int, int, int]) -> Image:
        """Scale only what lies near the area: otherwise 1 x 30,000 px would become 100 x 3,000,000 px first."""
        margin = math.ceil(_KERNEL_RADIUS * max(1.0, 1 / scale)) + 1
        left, width = _neighborhood(area[0] / scale, area[2] / scale, margin, image.width)
        top, height = _neighborhood(area[1] / scale, area[3] / scale, margin, image.height)
        across, down = max(0, round(area[0] - left * scale)), max(0, round(area[1] - top * scale))
        size = max(across + area[2], round(width * scale)), max(down + area[3], round(height * scale))
        part = image.crop(left, top, width, height)
        return resample(part, *size, linear=self.linear).crop(across, down, area[2], area[3])


def _neighborhood(start: float, length: float, margin: int, end: int) -> tuple[int, int]:
    first = max(0, math.floor(start) - margin)
    return first, min(end, math.ceil(start + length) + margin) - first
