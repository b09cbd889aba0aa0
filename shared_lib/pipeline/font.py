"""The font of text watermarks, which comes with the package, and the characters that it has.

DejaVu Sans 2.37: Latin, Greek, Cyrillic, Arabic, Hebrew and some more scripts, under a free license, in 740 kB.
"""

import struct
import unicodedata
from bisect import bisect_right
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "fonts"
FILE = FOLDER / "DejaVuSans.ttf"
FAMILY = "DejaVu Sans"
CONFIGURATION = FOLDER / "fonts.conf"
"""Fontconfig's, by which Pango finds fonts."""

_SEGMENTED_COVERAGE = 12  # the format of subtable that covers all of Unicode
_SEPARATING = {"Cc", "Zl", "Zp"}  # control characters, and line ends other than \n
_BLANK = "\u2800\ufffc"  # a Braille cell without dots, and the object replacement character


def validate(text: str) -> str:
    """Return the text. Raises ValueError for characters that the font lacks, and for text without any ink."""
    for character in text:
        if character != "\n" and (unicodedata.category(character) in _SEPARATING or not has_glyph(character)):
            raise ValueError(f"the font has no character U+{ord(character):04X}")
    if all(unicodedata.category(character)[0] in "CZ" or character in _BLANK for character in text):
        raise ValueError("the text has no visible characters")
    return text


def has_glyph(character: str) -> bool:
    starts, ends = _ranges()
    at = bisect_right(starts, ord(character)) - 1
    return at >= 0 and ord(character) <= ends[at]


@cache
def _ranges() -> tuple[list[int], list[int]]:
    """Return first and last code points, in order, of ranges that have glyphs (OpenType specification: cmap)."""
    with FILE.open("rb") as file:
        header = file.read(12)
        directory = file.read(16 * struct.unpack_from(">H", header, 4)[0])
        tables = {tag: (start, length) for tag, _, start, length in struct.iter_unpack(">4sIII", directory)}
        start, length = tables[b"cmap"]
        file.seek(start)
        cmap = file.read(length)
    subtables = struct.iter_unpack(">HHI", cmap[4 : 4 + 8 * struct.unpack_from(">H", cmap, 2)[0]])
    at = next(at for _, _, at in subtables if struct.unpack_from(">H", cmap, at)[0] == _SEGMENTED_COVERAGE)
    (count,) = struct.unpack_from(">I", cmap, at + 12)
    groups = list(struct.iter_unpack(">III", cmap[at + 16 : at + 16 + 12 * count]))
    return [first for first, _, _ in groups], [last for _, last, _ in groups]
