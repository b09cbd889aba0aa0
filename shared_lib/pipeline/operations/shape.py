"""Masks, backgrounds and frames."""

from dataclasses import dataclass
from typing import Annotated, Literal

from shared_lib.constraints import IntegerBounds
from shared_lib.pipeline.channels import in_color, rgba
from shared_lib.pipeline.operations.geometry import Extend
from shared_lib.pipeline.operations.operation import Context, Operation
from shared_lib.pipeline.parameters import Color, Side
from shared_lib.pipeline.vips import Image, pyvips


@dataclass(frozen=True, kw_only=True)
class RoundCorners(Operation):
    """Make corners transparent, beyond a circle of this radius, px."""

    kind: Literal["roundCorners"] = "roundCorners"
    radius: Side

    def apply(self, image: Image, _: Context) -> Image:
        return _mask(image, f'<rect width="{image.width}" height="{image.height}" rx="{self.radius}"/>')


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
    background: Color = "#ffffff"

    def apply(self, image: Image, _: Context) -> Image:
        if not image.hasalpha():
            return image
        values = rgba(self.background)[:3]
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
