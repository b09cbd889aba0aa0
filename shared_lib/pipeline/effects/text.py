"""Text as pixels, by Pango: shaped, in each script's own direction, and broken into lines."""

import math

import pyvips

from shared_lib.pipeline import font
from shared_lib.pipeline import operations as op
from shared_lib.pipeline.effects.channels import rgba
from shared_lib.pipeline.parameters import Colour

_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})  # Pango reads markup
_LINE = 1.3  # times the size; DejaVu Sans' lines are 1.16 high
_OVERHANG = 2  # px, by which ink may reach over the line's end
_STEP = 1.1  # from one size that is tried to the next


def write(do: op.TextWatermark, room: tuple[int, int]) -> pyvips.Image:
    """Write in the operation's colour on nothing; in smaller letters where there is not enough room, px, for all."""
    size = min(do.size, _size_that_fits(do.text, room))
    letters = _lay_out(do.text, size, room)
    while size < do.size:
        # Upwards, so that nothing is laid out that is much larger than the room.
        size = min(do.size, size * _STEP)
        larger = _lay_out(do.text, size, room)
        if not _fits(larger, room):
            break
        letters = larger
    if not _fits(letters, room):  # there is no smaller font than of a pixel
        letters = letters.thumbnail_image(room[0], height=room[1], size="down")
    return _inked(letters, do.colour)


def _size_that_fits(text: str, room: tuple[int, int]) -> float:
    """A size of which it is sure, px: with each letter as wide as high, and lines that words leave half empty."""
    width, height = room
    lines = text.count("\n") + 1
    # (lines + 2 * letters * size / width) * _LINE * size = height
    square, linear = 2 * len(text) * _LINE / width, lines * _LINE
    size = (math.sqrt(linear**2 + 4 * square * height) - linear) / (2 * square)
    return max(1.0, min(size, width / 2))


def _fits(letters: pyvips.Image, room: tuple[int, int]) -> bool:
    return bool(letters.width <= room[0] and letters.height <= room[1])


def _lay_out(text: str, size: float, room: tuple[int, int]) -> pyvips.Image:
    """Opacity alone, 0 to 255, cut to what is inked. Lines begin where their script does: left or right."""
    return pyvips.Image.text(
        text.translate(_ESCAPED),
        font=f"{font.FAMILY} {size:.2f}",
        fontfile=str(font.FILE),
        dpi=72,  # at which a point is a pixel
        width=max(1, room[0] - _OVERHANG),
        wrap="word-char",
    )


def _inked(letters: pyvips.Image, colour: Colour) -> pyvips.Image:
    *ink, alpha = rgba(colour)
    is_gray = len(set(ink)) == 1
    solid = letters.new_from_image(ink[:1] if is_gray else ink).copy(interpretation="b-w" if is_gray else "srgb")
    return solid.bandjoin((letters * (alpha / 255)).rint().cast("uchar")).copy_memory()
