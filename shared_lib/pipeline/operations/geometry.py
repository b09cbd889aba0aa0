"""Edges and direction: cropping, margins, turning."""

from dataclasses import dataclass
from typing import Annotated, Literal

from shared_lib.constraints import Bounds
from shared_lib.errors import FailureCode, RecipeRejected
from shared_lib.pipeline.channels import add_channels_for, in_color, premultiplied, rgba
from shared_lib.pipeline.gravity import Compass, Focus, Gravity, find_offset
from shared_lib.pipeline.operations.operation import Context, Operation
from shared_lib.pipeline.parameters import Angle, Color, Fill, Margin, Side
from shared_lib.pipeline.resampling import resample
from shared_lib.pipeline.vips import Image, pyvips

_BACK = {
    1: (False, 0),
    2: (True, 0),
    3: (False, 180),
    4: (True, 180),
    5: (True, 270),
    6: (False, 270),
    7: (True, 90),
    8: (False, 90),
}
"""By EXIF's orientation: whether to mirror left to right, and then how far to turn, degrees."""
_BLUR = 50  # standard deviation, px, of an image that is its own background


@dataclass(frozen=True, kw_only=True)
class Crop(Operation):
    """Cut out a rectangle, px. Parts of it outside the image are left out, and it can't be all outside."""

    kind: Literal["crop"] = "crop"
    left: Margin = 0
    top: Margin = 0
    width: Side
    height: Side
    gravity: Gravity | None = None
    """Takes the place of left and top."""

    def __post_init__(self) -> None:
        if self.gravity is not None and (self.left or self.top):
            raise ValueError("gravity says where to cut: leave it out, or left and top")

    @property
    def depends_on_content(self) -> bool:
        return self.gravity == "smart"

    def apply(self, image: Image, _: Context) -> Image:
        if self.gravity is not None:
            return crop_at(image, (min(self.width, image.width), min(self.height, image.height)), self.gravity)
        width, height = min(self.width, image.width - self.left), min(self.height, image.height - self.top)
        if min(width, height) < 1:
            begin = f"The crop begins at {self.left:,}, {self.top:,} px"
            raise RecipeRejected(
                FailureCode.CROP_OUTSIDE, f"{begin}, outside the image of {image.width:,} x {image.height:,} px."
            )
        return image.crop(self.left, self.top, width, height)


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
        return crop_at(image, (width, height), self.gravity)

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
    background: Fill = "transparent"
    beneath: bool = False
    """Show the background through what is transparent, too."""

    def apply(self, image: Image, _: Context) -> Image:
        size = self.width, self.height
        return place_on_canvas(image, size, self.gravity, self.background, beneath=self.beneath)


@dataclass(frozen=True, kw_only=True)
class Trim(Operation):
    """Remove borders of one color, within a tolerance."""

    kind: Literal["trim"] = "trim"
    threshold: Annotated[float, Bounds(ge=0, le=442)] = 10
    """The largest difference of a channel, 0 to 255, or of all of them."""
    measure: Literal["channel", "euclidean"] = "channel"
    """`channel` overlooks specks. `euclidean` is the distance between colors, up to 441.7, and keeps every pixel."""
    color: Color | None = None
    """Of the borders. Transparency then counts as #ff00ff. By default it is that of a corner."""
    corner: Literal["northwest", "southeast"] = "northwest"
    equal: Literal["none", "horizontal", "vertical", "both"] = "none"
    """Remove as much from opposite sides: what the side with less of a border has."""

    def apply(self, image: Image, _: Context) -> Image:
        if min(image.width, image.height) < 3:
            return image  # find_trim looks through a 3 x 3 median
        found = self._find_by_distance(image) if self.measure == "euclidean" else self._find_by_channel(image)
        left, top, width, height = found
        if not (width and height):
            return image
        if self.equal in ("horizontal", "both"):
            left = min(left, image.width - left - width)
            width = image.width - 2 * left
        if self.equal in ("vertical", "both"):
            top = min(top, image.height - top - height)
            height = image.height - 2 * top
        return image.crop(left, top, width, height)

    @property
    def depends_on_content(self) -> bool:
        return True

    def _find_by_channel(self, image: Image) -> tuple[int, int, int, int]:
        if self.color is not None:
            visible = in_color(image)
            visible = visible.flatten(background=[255, 0, 255]) if visible.hasalpha() else visible
            corner = rgba(self.color)[:3] if self.color != "transparent" else [255, 0, 255]
        else:
            visible, corner = image, image.getpoint(*self._corner_of(image))
            if image.hasalpha():
                # Where the corner is transparent, opacity tells the border from the rest, whatever the colors.
                opacity = image.bands - 1
                visible, corner = (image[opacity], [0]) if corner[-1] == 0 else (image[:opacity], corner[:opacity])
        left, top, width, height = visible.find_trim(threshold=self.threshold, background=corner)
        return left, top, width, height

    def _find_by_distance(self, image: Image) -> tuple[int, int, int, int]:
        if self.color is None:
            border = image.crop(*self._corner_of(image), 1, 1)
        else:
            image, values = add_channels_for(image, self.color)
            border = image.crop(0, 0, 1, 1).new_from_image(values)
        # A difference of gray is one of three channels.
        image, border = in_color(image), in_color(border)
        if image.hasalpha():
            image, border = image.premultiply(), border.premultiply()  # the colors of what is invisible don't count
        corner = border.getpoint(0, 0)
        far = ((image - corner) ** 2).bandmean() * image.bands > self.threshold**2
        left, top, width, height = far.find_trim(threshold=128, background=[0], line_art=True)
        return left, top, width, height

    def _corner_of(self, image: Image) -> tuple[int, int]:
        return (0, 0) if self.corner == "northwest" else (image.width - 1, image.height - 1)


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
class Unrotate(Operation):
    """Turn and mirror the image back to how it is stored: without this, it is upright by its EXIF orientation."""

    kind: Literal["unrotate"] = "unrotate"

    def apply(self, image: Image, context: Context) -> Image:
        flipped, turned = _BACK[context.orientation]
        image = image.fliphor() if flipped else image
        return image.rot(f"d{turned}")


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


def crop_at(image: Image, size: tuple[int, int], gravity: Gravity) -> Image:
    """Cut out a size, px, no larger than the image."""
    if gravity == "smart":
        return image.smartcrop(*size, interesting="attention")
    return image.crop(*find_offset(gravity, (image.width, image.height), size), *size)


def place_on_canvas(
    image: Image, size: tuple[int, int], gravity: Gravity, background: Fill, *, beneath: bool = False
) -> Image:
    """Add margins until a size, px, is reached. With `beneath`, the background also shows through the image."""
    beneath = beneath and image.hasalpha()
    width, height = max(size[0], image.width), max(size[1], image.height)
    left, top = find_offset(gravity, (width, height), (image.width, image.height))
    if (width, height) == (image.width, image.height) and not beneath:
        return image
    if background == "blur":
        image = image.copy_memory()
        blurred = premultiplied(image, lambda colors: colors.gaussblur(_BLUR).cast(colors.format))
        canvas = resample(blurred, width, height)
    else:
        if background == "mean":
            image = in_color(image.copy_memory())
            background = find_mean(image)
        if not beneath:
            return _embed(image, (left, top, width, height), background)
        image, values = add_channels_for(image, background)
        canvas = image.crop(0, 0, 1, 1).new_from_image(values).embed(0, 0, width, height, extend="copy")
    if not beneath:
        return canvas.insert(image, left, top)
    both = canvas.cast("float").composite2(image.cast("float"), "over", x=left, y=top)
    return both.rint().cast("uchar")


def find_mean(image: Image) -> Color:
    """Return the mean of all colors, also of those that are transparent. The image's pixels are read twice."""
    image = in_color(image)
    return "#" + "".join(f"{int(image[band].avg()):02x}" for band in range(3))


def _embed(image: Image, area: tuple[int, int, int, int], background: Color) -> Image:
    """Put the image at left, top of a canvas of width x height."""
    if area == (0, 0, image.width, image.height):
        return image
    image, values = add_channels_for(image, background)
    return image.embed(*area, extend="background", background=values)
