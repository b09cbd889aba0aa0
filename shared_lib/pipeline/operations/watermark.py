"""Another image, or text, laid on the image."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

from shared_lib.constraints import Bounds
from shared_lib.pipeline.channels import in_color
from shared_lib.pipeline.gravity import Compass, Focus, find_offset
from shared_lib.pipeline.operations.operation import Context, Operation
from shared_lib.pipeline.parameters import Margin, Share
from shared_lib.pipeline.vips import Image


@dataclass(frozen=True, kw_only=True)
class Stamp(Operation):
    """Base of watermarks, which lie at their gravity, `margin` px from the edges, or as tiles, `margin` px apart."""

    opacity: Share = 1
    gravity: Compass | Focus | None = None
    """Southeast by default."""
    tile: bool = False
    margin: Margin = 0

    def __post_init__(self) -> None:
        if self.tile and self.gravity is not None:
            raise ValueError("tiles lie everywhere: leave out tile or gravity")

    @abstractmethod
    def draw(self, width: int, area: tuple[int, int], context: Context, /) -> Image:
        """Return the pixels to lay on an image of this width, px, no larger than the area, px.

        In sRGB or gray, 8 bits a channel, with or without alpha.
        """

    def apply(self, image: Image, context: Context) -> Image:
        area = max(1, image.width - 2 * self.margin), max(1, image.height - 2 * self.margin)
        width = image.width
        stamp = context.once((self, width, area), lambda: self.draw(width, area, context))
        if stamp.bands > 2:
            image = in_color(image)
        elif image.bands > 2:
            stamp = in_color(stamp)
        stamp = _fade(stamp, self.opacity)
        if self.tile:
            return _composite(image, _tile(stamp, self.margin, image.width, image.height))
        left, top = find_offset(self.gravity or "southeast", area, (stamp.width, stamp.height))
        left, top = left + (image.width - area[0]) // 2, top + (image.height - area[1]) // 2
        # Composite only there, so that a small stamp costs as little on a large image as on a small one.
        part = _composite(image.crop(left, top, stamp.width, stamp.height), stamp)
        return image.insert(part, left, top)


@dataclass(frozen=True, kw_only=True)
class Watermark(Stamp):
    """Lay another stored image on this one. It is scaled down if it does not fit."""

    kind: Literal["watermark"] = "watermark"
    image: Annotated[UUID, Bounds(strict=False)]
    """Its first frame is used."""
    scale: Annotated[float, Bounds(gt=0, le=1)] | None = None
    """Its width as a share of this image's. By default it keeps its own size."""

    def draw(self, width: int, area: tuple[int, int], context: Context) -> Image:
        own_width, own_height = context.overlay_size(self.image)
        wanted = 1.0 if self.scale is None else self.scale * width / own_width
        scale = min(wanted, area[0] / own_width, area[1] / own_height)
        size = max(1, round(own_width * scale)), max(1, round(own_height * scale))
        return context.decode_overlay(self.image, size)

    @property
    def overlays(self) -> tuple[UUID, ...]:
        return (self.image,)


def _fade(stamp: Image, opacity: float) -> Image:
    if not stamp.hasalpha():
        stamp = stamp.addalpha()
    last = stamp.bands - 1
    return stamp[:last].bandjoin((stamp[last] * opacity).rint().cast("uchar"))


def _tile(stamp: Image, margin: int, width: int, height: int) -> Image:
    cell = stamp.embed(margin, margin, stamp.width + margin, stamp.height + margin)  # transparent around it
    return cell.replicate(math.ceil(width / cell.width), math.ceil(height / cell.height)).crop(0, 0, width, height)


def _composite(image: Image, stamp: Image) -> Image:
    """Composite, weighed by opacity, in the channels that the image has: without alpha it stays without."""
    both = image.cast("float").composite2(stamp.cast("float"), "over")  # composite2 does not round when it casts
    return (both if image.hasalpha() else both[: both.bands - 1]).rint().cast("uchar")
