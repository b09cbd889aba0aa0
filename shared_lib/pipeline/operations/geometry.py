"""Edges and direction: cropping, margins, turning."""

from dataclasses import dataclass
from typing import Annotated, Literal

from shared_lib.constraints import Bounds
from shared_lib.pipeline.channels import add_channels_for, premultiplied
from shared_lib.pipeline.gravity import Compass, Focus, Gravity, find_offset
from shared_lib.pipeline.operations.operation import Context, Operation
from shared_lib.pipeline.parameters import Angle, Color, Margin, Side
from shared_lib.pipeline.vips import Image, pyvips


@dataclass(frozen=True, kw_only=True)
class Crop(Operation):
    """Cut out a rectangle, px. Parts of it outside the image are left out."""

    kind: Literal["crop"] = "crop"
    left: Margin = 0
    top: Margin = 0
    width: Side
    height: Side

    def apply(self, image: Image, _: Context) -> Image:
        left, top = min(self.left, image.width - 1), min(self.top, image.height - 1)
        return image.crop(left, top, min(self.width, image.width - left), min(self.height, image.height - top))


@dataclass(frozen=True, kw_only=True)
class CropToRatio(Operation):
    """Cut the largest part of an aspect ratio, such as 16:9."""

    kind: Literal["cropToRatio"] = "cropToRatio"
    width: Side
    height: Side
    gravity: Gravity = "center"

    def apply(self, image: Image, _: Context) -> Image:
        scale = min(image.width / self.width, image.height / self.height)
        width, height = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        if self.gravity == "smart":
            return image.smartcrop(width, height, interesting="attention")
        left, top = find_offset(self.gravity, (image.width, image.height), (width, height))
        return image.crop(left, top, width, height)

    @property
    def depends_on_content(self) -> bool:
        return self.gravity == "smart"


@dataclass(frozen=True, kw_only=True)
class Extend(Operation):
    """Add margins, px."""

    kind: Literal["extend"] = "extend"
    top: Margin = 0
    right: Margin = 0
    bottom: Margin = 0
    left: Margin = 0
    background: Color = "transparent"

    def apply(self, image: Image, _: Context) -> Image:
        size = image.width + self.left + self.right, image.height + self.top + self.bottom
        return _embed(image, (self.left, self.top, *size), self.background)


@dataclass(frozen=True, kw_only=True)
class Pad(Operation):
    """Add margins until a size is reached. A larger image stays as it is."""

    kind: Literal["pad"] = "pad"
    width: Side
    height: Side
    gravity: Compass | Focus = "center"
    background: Color = "transparent"

    def apply(self, image: Image, _: Context) -> Image:
        return place_on_canvas(image, (self.width, self.height), self.gravity, self.background)


@dataclass(frozen=True, kw_only=True)
class Trim(Operation):
    """Remove borders that look like the top left pixel, within a tolerance of 0 to 255."""

    kind: Literal["trim"] = "trim"
    threshold: Annotated[float, Bounds(ge=0, le=255)] = 10

    def apply(self, image: Image, _: Context) -> Image:
        if min(image.width, image.height) < 3:
            return image  # find_trim looks through a 3 x 3 median
        corner = image.getpoint(0, 0)
        visible = image
        if image.hasalpha():
            # Where the corner is transparent, opacity tells the border from the rest, whatever the colors.
            opacity = image.bands - 1
            visible, corner = (image[opacity], [0]) if corner[-1] == 0 else (image[:opacity], corner[:opacity])
        left, top, width, height = visible.find_trim(threshold=self.threshold, background=corner)
        return image.crop(left, top, width, height) if width and height else image

    @property
    def depends_on_content(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class Rotate(Operation):
    """Turn clockwise by degrees. The corners that open are filled with background."""

    kind: Literal["rotate"] = "rotate"
    angle: Angle
    background: Color = "transparent"

    def apply(self, image: Image, _: Context) -> Image:
        if self.angle % 90 == 0:
            return image.rot(f"d{round(self.angle) % 360}")
        image, background = add_channels_for(image, self.background)
        if image.hasalpha():
            *visible, alpha = background
            background = [round(value * alpha / 255) for value in visible] + [alpha]
        smooth = pyvips.Interpolate.new("bicubic")
        return premultiplied(image, lambda colors: colors.rotate(self.angle, interpolate=smooth, background=background))


@dataclass(frozen=True, kw_only=True)
class Flip(Operation):
    """Mirror top to bottom."""

    kind: Literal["flip"] = "flip"

    def apply(self, image: Image, _: Context) -> Image:
        return image.flipver()


@dataclass(frozen=True, kw_only=True)
class Flop(Operation):
    """Mirror left to right."""

    kind: Literal["flop"] = "flop"

    def apply(self, image: Image, _: Context) -> Image:
        return image.fliphor()


def place_on_canvas(image: Image, size: tuple[int, int], gravity: Gravity, background: Color) -> Image:
    """Add margins until a size, px, is reached."""
    width, height = max(size[0], image.width), max(size[1], image.height)
    left, top = find_offset(gravity, (width, height), (image.width, image.height))
    return _embed(image, (left, top, width, height), background)


def _embed(image: Image, area: tuple[int, int, int, int], background: Color) -> Image:
    """Put the image at left, top of a canvas of width x height."""
    if area == (0, 0, image.width, image.height):
        return image
    image, values = add_channels_for(image, background)
    return image.embed(*area, extend="background", background=values)
