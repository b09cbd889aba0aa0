"""Masks, backgrounds and frames."""

from dataclasses import dataclass
from typing import Annotated, Literal

from shared_lib.constraints import IntegerBounds
from shared_lib.pipeline.channels import add_channels_for, in_color, rgba
from shared_lib.pipeline.operations.geometry import Extend, find_mean
from shared_lib.pipeline.operations.operation import Context, Operation
from shared_lib.pipeline.parameters import Color, ColorOrMean, Margin, Side
from shared_lib.pipeline.vips import Image, pyvips


@dataclass(frozen=True, kw_only=True)
class RoundCorners(Operation):
    """Make corners transparent, beyond a circle of this radius, px."""

    kind: Literal["roundCorners"] = "roundCorners"
    radius: Side
    vertical: Side | None = None
    """Vertical radius of an ellipse, px, if it differs."""

    def apply(self, image: Image, _: Context) -> Image:
        radii = f'rx="{self.radius}" ry="{self.vertical or self.radius}"'
        return _mask(image, f'<rect width="{image.width}" height="{image.height}" {radii}/>')


@dataclass(frozen=True, kw_only=True)
class Circle(Operation):
    """Make everything transparent outside the largest circle (in a square) or ellipse that fits."""

    kind: Literal["circle"] = "circle"

    def apply(self, image: Image, _: Context) -> Image:
        across, down = image.width / 2, image.height / 2
        return _mask(image, f'<ellipse cx="{across}" cy="{down}" rx="{across}" ry="{down}"/>')


@dataclass(frozen=True, kw_only=True)
class Flatten(Operation):
    """Put the image on a background. Nothing stays transparent."""

    kind: Literal["flatten"] = "flatten"
    background: ColorOrMean = "#ffffff"

    def apply(self, image: Image, _: Context) -> Image:
        if not image.hasalpha():
            return image
        if self.background == "mean":
            image = image.copy_memory()
        values = rgba(find_mean(image) if self.background == "mean" else self.background)[:3]
        if image.bands < 3 and len(set(values)) == 1:
            return image.flatten(background=values[:1])
        return in_color(image).flatten(background=values)


@dataclass(frozen=True, kw_only=True)
class Border(Operation):
    """Draw a frame around the image, px."""

    kind: Literal["border"] = "border"
    width: Annotated[int, IntegerBounds(ge=1, le=1_000)]
    color: Color = "#000000"

    def apply(self, image: Image, context: Context) -> Image:
        side = self.width
        frame = Extend(top=side, right=side, bottom=side, left=side, background=self.color)
        return frame.apply(image, context)


@dataclass(frozen=True, kw_only=True)
class Rectangle(Operation):
    """Draw a rectangle on the image, px. Parts of it outside the image are left out."""

    kind: Literal["rectangle"] = "rectangle"
    left: Margin = 0
    top: Margin = 0
    width: Side
    height: Side
    color: Color = "#ffffff"
    thickness: Side | None = None
    """Of its outline, px. By default it is filled."""

    def apply(self, image: Image, _: Context) -> Image:
        image, ink = add_channels_for(image, self.color)
        for left, top, width, height in self._parts():
            if left < image.width and top < image.height:
                part = image.crop(left, top, min(width, image.width - left), min(height, image.height - top))
                image = image.insert(part.new_from_image(ink), left, top)
        return image

    def _parts(self) -> list[tuple[int, int, int, int]]:
        """Return left, top, width and height of the rectangle, or of its four sides."""
        whole = (self.left, self.top, self.width, self.height)
        if self.thickness is None or 2 * self.thickness >= min(self.width, self.height):
            return [whole]
        thick = self.thickness
        right, bottom = self.left + self.width - thick, self.top + self.height - thick
        across = [(self.left, top, self.width, thick) for top in (self.top, bottom)]
        return across + [(left, self.top, thick, self.height) for left in (self.left, right)]


def _mask(image: Image, shape: str) -> Image:
    """Make everything outside the shape transparent, with smooth edges."""
    from shared_lib.pipeline.codecs.svg import rasterize  # noqa: PLC0415  only masks need this renderer

    namespace = 'xmlns="http://www.w3.org/2000/svg"'
    size = f'width="{image.width}" height="{image.height}"'
    png = rasterize(f"<svg {namespace} {size}>{shape}</svg>", image.width, image.height)
    cover = pyvips.Image.pngload_buffer(png)[3]
    if not image.hasalpha():
        return image.bandjoin(cover)
    last = image.bands - 1
    return image[:last].bandjoin((image[last] * cover / 255).cast("uchar"))
