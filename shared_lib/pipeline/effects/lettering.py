"""Text as pixels, by Pango: shaped, in each script's own direction, and broken into lines."""

from xml.sax.saxutils import escape  # writes XML, reads none

import pyvips

from shared_lib.pipeline import font
from shared_lib.pipeline import operations as op
from shared_lib.pipeline.effects.channels import rgba

_DPI = 72  # at which one point is one pixel
_LINE = 1.3  # times the size; DejaVu Sans' lines are 1.16 high


def write(do: op.TextWatermark, room: tuple[int, int]) -> pyvips.Image:
    """Write in the operation's colour on nothing; in smaller letters where there is not enough room, px, for all."""
    if _surely_fits(do, room):
        return _inked(_at_size(do, room[0]), do.colour)
    # Pango looks for the largest size that fits, which takes it some 40 ms.
    letters, found = _lay_out(do, width=room[0], height=room[1], autofit_dpi=True)
    if found["autofit_dpi"] >= _DPI:
        letters = _at_size(do, room[0])
    if letters.width > room[0] or letters.height > room[1]:  # no letter is smaller than a pixel
        letters = letters.thumbnail_image(room[0], height=room[1], size="down")
    return _inked(letters, do.colour)


def _surely_fits(do: op.TextWatermark, room: tuple[int, int]) -> bool:
    """With each letter as wide as high, and every other line ended by a single word that found no place in it."""
    lines = do.text.count("\n") + 1 + 2 * len(do.text) * do.size / room[0]
    return 2 * do.size < room[0] and lines * _LINE * do.size < room[1]


def _at_size(do: op.TextWatermark, width: int) -> pyvips.Image:
    return _lay_out(do, width=width, dpi=_DPI)


def _lay_out(do: op.TextWatermark, **bounds: int) -> pyvips.Image:
    """Opacity alone, 0 to 255, cut to what is inked. Lines begin where their script does: left or right."""
    # Pango reads markup.
    return pyvips.Image.text(
        escape(do.text), font=f"{font.FAMILY} {do.size}", fontfile=str(font.FILE), wrap="word-char", **bounds
    )


def _inked(letters: pyvips.Image, colour: op.Colour) -> pyvips.Image:
    *ink, alpha = rgba(colour)
    is_gray = len(set(ink)) == 1
    solid = letters.new_from_image(ink[:1] if is_gray else ink).copy(interpretation="b-w" if is_gray else "srgb")
    return solid.bandjoin((letters * (alpha / 255)).rint().cast("uchar")).copy_memory()
