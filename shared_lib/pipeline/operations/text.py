"""Text drawn by Pango: shaped, in each script's own direction, and broken into lines."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from shared_lib.constraints import Bounds, IntegerBounds, Validate
from shared_lib.pipeline import font
from shared_lib.pipeline.channels import rgba
from shared_lib.pipeline.operations.operation import Context
from shared_lib.pipeline.operations.watermark import Stamp
from shared_lib.pipeline.parameters import Color
from shared_lib.pipeline.vips import Image, pyvips

_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})  # Pango reads markup
_LINE = 1.3  # times the size; DejaVu Sans' lines are 1.16 high
_OVERHANG = 2  # px by which ink may exceed the line
_STEP = 1.1  # between the sizes that are tried


@dataclass(frozen=True, kw_only=True)
class TextWatermark(Stamp):
    """Write on the image, in any script that DejaVu Sans has, from the side at which that script begins.

    Long lines are wrapped. The font becomes smaller if the text does not fit.
    """

    kind: Literal["text"] = "text"
    text: Annotated[str, Bounds(min_length=1, max_length=500), Validate(font.validate)]
    size: Annotated[int, IntegerBounds(ge=4, le=1_000)] = 24
    """Font size, px."""
    color: Color = "#ffffff"

    def draw(self, _: tuple[int, int], area: tuple[int, int], __: Context) -> Image:
        size = min(self.size, _find_size_that_fits(self.text, area))
        letters = _lay_out(self.text, size, area)
        while size < self.size:
            # Upwards, so that no text is laid out that is much larger than the area.
            size = min(self.size, size * _STEP)
            larger = _lay_out(self.text, size, area)
            if not _fits(larger, area):
                break
            letters = larger
        if not _fits(letters, area):  # no font is smaller than 1 px
            letters = letters.thumbnail_image(area[0], height=area[1], size="down")
        return _fill(letters, self.color)


def _find_size_that_fits(text: str, area: tuple[int, int]) -> float:
    """Return a size, px, that surely fits: for letters as wide as high, and lines that words leave half empty."""
    width, height = area
    lines = text.count("\n") + 1
    # (lines + 2 * letters * size / width) * _LINE * size = height
    square, linear = 2 * len(text) * _LINE / width, lines * _LINE
    size = (math.sqrt(linear**2 + 4 * square * height) - linear) / (2 * square)
    return max(1.0, min(size, width / 2))


def _fits(letters: Image, area: tuple[int, int]) -> bool:
    return bool(letters.width <= area[0] and letters.height <= area[1])


def _lay_out(text: str, size: float, area: tuple[int, int]) -> Image:
    """Return opacity alone, 0 to 255, cut to the ink. Lines begin where their script does: left or right."""
    return pyvips.Image.text(
        text.translate(_ESCAPED),
        font=f"{font.FAMILY} {size:.2f}",
        fontfile=str(font.FILE),
        dpi=72,  # at which a point is a pixel
        width=max(1, area[0] - _OVERHANG),
        wrap="word-char",
    )


def _fill(letters: Image, color: Color) -> Image:
    """Give letters a color."""
    *visible, alpha = rgba(color)
    is_gray = len(set(visible)) == 1
    solid = letters.new_from_image(visible[:1] if is_gray else visible)
    solid = solid.copy(interpretation="b-w" if is_gray else "srgb")
    return solid.bandjoin((letters * (alpha / 255)).rint().cast("uchar")).copy_memory()
