"""Another image, or text, laid on the image."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

from shared_lib.constraints import Bounds
from shared_lib.pipeline.channels import in_color
from shared_lib.pipeline.gravity import Compass, Focus, find_offset
from shared_lib.pipeline.operations.geometry import Extend
from shared_lib.pipeline.operations.operation import Context, Operation
from shared_lib.pipeline.parameters import Color, Margin, Offset, Share
from shared_lib.pipeline.resampling import resample
from shared_lib.pipeline.vips import Image

_LEAST_PATCH = 3  # px a side: two of them are marks


@dataclass(frozen=True, kw_only=True)
class Stamp(Operation):
    """Base of watermarks, which lie at their gravity, `margin` px from the edges, or as tiles, `margin` px apart."""

    opacity: Share = 1
    gravity: Compass | Focus | None = None
    """Southeast by default."""
    tile: bool | Literal["horizontal", "vertical"] = False
    """Repeat it everywhere, or in one row or column at its gravity."""
    margin: Margin = 0
    gaps: Annotated[tuple[Margin, Margin], Bounds(strict=False)] | None = None
    """Distances of tiles across and down, px, of which one then lies in the middle."""
    x: Offset = 0
    """px from its gravity's place inwards. It may reach beyond the edge, where it is cut off."""
    y: Offset = 0

    def __post_init__(self) -> None:
        if self.tile is True and (self.gravity is not None or self.x or self.y):
            raise ValueError("tiles lie everywhere: leave out tile, or gravity, x and y")
        if self.gaps is not None and (self.tile is not True or self.margin):
            raise ValueError("gaps are those of tiles, in place of a margin")

    @abstractmethod
    def draw(self, size: tuple[int, int], area: tuple[int, int], context: Context, /) -> Image:
        """Return the pixels to lay on an image of this size, px, no larger than the area, px.

        In sRGB or gray, 8 bits a channel, with or without alpha.
        """

    def apply(self, image: Image, context: Context) -> Image:
        size = image.width, image.height
        area = max(1, image.width - 2 * self.margin), max(1, image.height - 2 * self.margin)
        stamp = context.once((self, size, area), lambda: self.draw(size, area, context))
        if stamp.bands > 2:
            image = in_color(image)
        elif image.bands > 2:
            stamp = in_color(stamp)
        stamp = _fade(stamp, self.opacity)
        if self.tile is True:
            tiles = _tile(stamp, self.margin, size) if self.gaps is None else _tile_from_middle(stamp, self.gaps, size)
            return _composite(image, tiles)
        left, top = self._find_place(area, (stamp.width, stamp.height))
        left, top = left + (image.width - area[0]) // 2, top + (image.height - area[1]) // 2
        if self.tile == "horizontal":
            left, stamp = 0, _tile(stamp, 0, (image.width, stamp.height))
        elif self.tile == "vertical":
            top, stamp = 0, _tile(stamp, 0, (stamp.width, image.height))
        return _lay(image, stamp, left, top)

    def _find_place(self, area: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
        """Return left and top in the area."""
        gravity = self.gravity or "southeast"
        left, top = find_offset(gravity, area, size)
        is_east = isinstance(gravity, str) and gravity.endswith("east")
        is_south = isinstance(gravity, str) and gravity.startswith("south")
        return left + (-self.x if is_east else self.x), top + (-self.y if is_south else self.y)


@dataclass(frozen=True, kw_only=True)
class Watermark(Stamp):
    """Lay another stored image on this one. It is scaled down if it does not fit."""

    kind: Literal["watermark"] = "watermark"
    image: Annotated[UUID, Bounds(strict=False)]
    """Its first frame is used."""
    scale: Annotated[float, Bounds(gt=0, le=1)] | None = None
    """Its width as a share of this image's. By default it keeps its own size."""
    height: Annotated[float, Bounds(gt=0, le=1)] | None = None
    """Its height as a share of this image's. With `scale`, it is as large as both allow."""

    def draw(self, size: tuple[int, int], area: tuple[int, int], context: Context) -> Image:
        own_width, own_height = context.overlay_size(self.image)
        wanted = [] if self.scale is None else [self.scale * size[0] / own_width]
        wanted += [] if self.height is None else [self.height * size[1] / own_height]
        scale = min(*(wanted or [1.0]), area[0] / own_width, area[1] / own_height)
        scaled = max(1, round(own_width * scale)), max(1, round(own_height * scale))
        return context.decode_overlay(self.image, scaled)

    @property
    def overlays(self) -> tuple[UUID, ...]:
        return (self.image,)


@dataclass(frozen=True, kw_only=True)
class Frame(Operation):
    """Lay a stored nine-patch image around this one, which grows by the patch's padding.

    Black pixels on the patch's outermost top row and left column mark the part that is stretched, and those on the
    bottom row and the right column where the image lies in it. A patch whose corners don't fit is left out.
    """

    kind: Literal["frame"] = "frame"
    image: Annotated[UUID, Bounds(strict=False)]
    background: Color = "transparent"
    """Of the padding."""

    @property
    def overlays(self) -> tuple[UUID, ...]:
        return (self.image,)

    def apply(self, image: Image, context: Context) -> Image:
        width, height = size = context.overlay_size(self.image)
        if min(size) < _LEAST_PATCH:
            return image
        patch = context.once((self, size), lambda: in_color(context.decode_overlay(self.image, size)))
        patch = patch if patch.hasalpha() else patch.addalpha()
        left, right = _find_run(patch.crop(1, height - 1, width - 2, 1))
        top, bottom = _find_run(patch.crop(width - 1, 1, 1, height - 2))
        padding = Extend(left=left, top=top, right=right, bottom=bottom, background=self.background)
        image = in_color(padding.apply(image, context))
        if not image.hasalpha():
            image = image.addalpha()
        columns = _stretch(image.width, width - 2, _find_run(patch.crop(1, 0, width - 2, 1)))
        rows = _stretch(image.height, height - 2, _find_run(patch.crop(0, 1, 1, height - 2)))
        for left, wide, to_left, to_wide in columns:
            for top, high, to_top, to_high in rows:
                part = resample(patch.crop(left + 1, top + 1, wide, high), to_wide, to_high)
                image = _lay(image, part, to_left, to_top)
        return image


def _find_run(line: Image) -> tuple[int, int]:
    """Return the number of pixels before the first opaque black one, and after the last one. 0 and 0: there is none."""
    data = bytes(line.write_to_memory())
    marked = [index for index in range(len(data) // 4) if data[4 * index : 4 * index + 4] == b"\0\0\0\xff"]
    return (marked[0], len(data) // 4 - 1 - marked[-1]) if marked else (0, 0)


def _stretch(length: int, own: int, ends: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Return start and length in the patch, and on the image, of the first end, the middle, and the last end."""
    first, last = ends
    if first + last > length:
        return []
    middle = own - first - last
    parts = [
        (0, first, 0, first),
        (first, middle, first, length - first - last),
        (own - last, last, length - last, last),
    ]
    return [part for part in parts if part[1] and part[3]]


def _lay(image: Image, stamp: Image, left: int, top: int) -> Image:
    """Composite only where the stamp lies, so that a small one costs as little on a large image as on a small one."""
    right, bottom = min(left + stamp.width, image.width), min(top + stamp.height, image.height)
    start, above = max(0, left), max(0, top)
    if right <= start or bottom <= above:
        return image
    visible = stamp.crop(start - left, above - top, right - start, bottom - above)
    part = _composite(image.crop(start, above, visible.width, visible.height), visible)
    return image.insert(part, start, above)


def _fade(stamp: Image, opacity: float) -> Image:
    if not stamp.hasalpha():
        stamp = stamp.addalpha()
    last = stamp.bands - 1
    return stamp[:last].bandjoin((stamp[last] * opacity).rint().cast("uchar"))


def _tile(stamp: Image, margin: int, size: tuple[int, int]) -> Image:
    """Cover a size, px, from the top left."""
    cell = stamp.embed(margin, margin, stamp.width + margin, stamp.height + margin)  # transparent around it
    columns, rows = math.ceil(size[0] / cell.width), math.ceil(size[1] / cell.height)
    return cell.replicate(columns, rows).crop(0, 0, *size)


def _tile_from_middle(stamp: Image, gaps: tuple[int, int], size: tuple[int, int]) -> Image:
    """Cover a size, px, so that one tile, with half of a gap on each side of it, lies in the middle."""
    across, down = gaps
    cell = stamp.embed(across // 2, down // 2, stamp.width + across, stamp.height + down)
    columns, rows = math.ceil(size[0] / cell.width) | 1, math.ceil(size[1] / cell.height) | 1
    tiles = cell.replicate(columns, rows)
    return tiles.crop((tiles.width - size[0]) // 2, (tiles.height - size[1]) // 2, *size)


def _composite(image: Image, stamp: Image) -> Image:
    """Composite, weighed by opacity, in the channels that the image has: without alpha it stays without."""
    both = image.cast("float").composite2(stamp.cast("float"), "over")  # composite2 does not round when it casts
    return (both if image.hasalpha() else both[: both.bands - 1]).rint().cast("uchar")
