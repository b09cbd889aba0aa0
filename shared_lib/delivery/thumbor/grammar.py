"""Divide a thumbor URL into its parts, which come in a fixed order."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from shared_lib.errors import Invalid

_URL = re.compile(
    r"(?:(?P<debug>debug)/)?(?:(?P<meta>meta)/)?(?:(?P<trim>trim(?::(?:top-left|bottom-right))?(?::\d+)?)/)?"
    r"(?:(?P<crop>\d+x\d+:\d+x\d+)/)?(?:(?P<fit>(?:adaptive-)?(?:full-)?fit-in)/)?"
    r"(?:(?P<flop>-)?(?P<width>\d{1,5}|orig)?x(?P<flip>-)?(?P<height>\d{1,5}|orig)?/)?"
    r"(?:(?P<across>left|center|right)/)?(?:(?P<down>top|middle|bottom)/)?(?:(?P<smart>smart)/)?"
    r"(?:filters:(?P<filters>.+?\))/)?(?P<image>.+)",
    re.DOTALL,
)
_FILTER = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_MOST = 10**12  # of any number


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedUrl:
    is_debug: bool
    """Draw the focal points instead of scaling."""
    is_meta: bool
    """Describe it instead of making it."""
    trim: tuple[str, int] | None
    """The corner with the color of the borders, and the largest distance from that color."""
    crop: tuple[int, int, int, int] | None
    """Left, top, right, bottom, px."""
    fit: str
    """Such as `adaptive-full-fit-in`. Empty: none."""
    width: str
    """Digits, `orig`, or empty."""
    height: str
    flip: tuple[bool, bool]
    """Horizontally, vertically."""
    gravity: tuple[float, float]
    """Shares of width and height."""
    is_smart: bool
    filters: tuple[tuple[str, str], ...]
    """Names with their arguments, in their order."""
    image: str


def parse(path: str) -> ParsedUrl:
    """Parse the part after the signature and its slash, as it was sent. Raises Invalid.

    Like thumbor, match it first and decode the parts afterwards: an encoded slash separates none.
    """
    found = _URL.fullmatch(path)
    if found is None:
        raise Invalid("The image is missing")
    return ParsedUrl(
        is_debug=found["debug"] is not None,
        is_meta=found["meta"] is not None,
        trim=_read_trim(found["trim"]),
        crop=_read_crop(found["crop"]),
        fit=found["fit"] or "",
        width=found["width"] or "",
        height=found["height"] or "",
        flip=(found["flop"] is not None, found["flip"] is not None),
        gravity=(
            {"left": 0.0, "right": 1.0}.get(found["across"], 0.5),
            {"top": 0.0, "bottom": 1.0}.get(found["down"], 0.5),
        ),
        is_smart=found["smart"] is not None,
        filters=tuple(_read_filters(unquote(found["filters"] or ""))),
        image=unquote(found["image"]),
    )


def read_integer(text: str) -> int:
    """Read an integer of any length, and return one between -_MOST and _MOST: `int` raises beyond 4,300 digits."""
    return int(read_decimal(text))


def read_decimal(text: str) -> float:
    return max(-_MOST, min(float(text), _MOST))


def _read_trim(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    _, corner, tolerance = [*text.split(":"), "", ""][:3]
    return corner or "top-left", read_integer(tolerance or "0")


def _read_crop(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    left, top, right, bottom = map(read_integer, re.split("[x:]", text))
    return left, top, right, bottom


def _read_filters(text: str) -> list[tuple[str, str]]:
    parts = [each if each.endswith(")") else f"{each})" for each in text.split("):")] if text else []
    found = [_FILTER.fullmatch(each) for each in parts]
    return [(each[1], each[2]) for each in found if each]
