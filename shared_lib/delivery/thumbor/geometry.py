"""thumbor's geometry, to the pixel: from a source's size and a URL to what is cut and how far it is scaled."""

import math
from dataclasses import dataclass

from shared_lib.delivery.thumbor.grammar import ParsedUrl

Size = tuple[int, int]
Box = tuple[int, int, int, int]
"""Left, top, width, height, px."""


@dataclass(frozen=True, slots=True)
class Plan:
    crop: Box | None
    """The part of the source that the URL cuts out."""
    cut: Box | None
    """Then cut, to have the target's ratio. None for nothing, and for a smart URL, which cuts by content."""
    size: Size
    """To which the rest is scaled, px."""
    frame: Size
    """The box that `fill` fills: at least that size, px."""


def make_plan(source: Size, url: ParsedUrl, *, stretches: bool = False, may_enlarge: bool = True) -> Plan:
    crop = _crop(source, url.crop)
    current = crop[2:] if crop else source
    target = _resolve(current, url)
    if not may_enlarge:
        target = min(target[0], current[0]), min(target[1], current[1])
    if url.fit:
        size = _fit(current, target, url.fit)
        return Plan(crop, None, size, (max(target[0], size[0]), max(target[1], size[1])))
    cut = None if stretches or url.is_smart else _cut(current, target, url.gravity)
    return Plan(crop, cut, target, target)


def _crop(source: Size, wanted: Box | None) -> Box | None:
    if wanted is None:
        return None
    left, top = min(wanted[0], source[0]), min(wanted[1], source[1])
    right, bottom = min(wanted[2], source[0]), min(wanted[3], source[1])
    if right <= left or bottom <= top:
        return None
    return left, top, right - left, bottom - top


def _resolve(source: Size, url: ParsedUrl) -> Size:
    """Return the size that is asked for. A side of 0 follows from the other."""
    width = source[0] if url.width == "orig" else int(url.width or 0)
    height = source[1] if url.height == "orig" else int(url.height or 0)
    if not (width or height):
        return source
    width = width or max(1, round(height * source[0] / source[1]))
    height = height or max(1, round(width * source[1] / source[0]))
    if url.fit.startswith("adaptive") and (width - height) * (source[0] - source[1]) < 0:
        return height, width
    return width, height


def _fit(source: Size, target: Size, fit: str) -> Size:
    is_full = "full" in fit
    if not is_full and target[0] >= source[0] and target[1] >= source[1]:
        return source
    by_width = (source[0] / target[0] >= source[1] / target[1]) != is_full
    if by_width:
        return target[0], max(1, round(source[1] * target[0] / source[0] + 1e-5))
    return max(1, round(source[0] * target[1] / source[1] + 1e-5)), target[1]


def _cut(source: Size, target: Size, gravity: tuple[float, float]) -> Box | None:
    """Return the largest part of the target's ratio, around the gravity's point."""
    if round(source[0] / source[1], 2) == round(target[0] / target[1], 2):
        return None
    if target[0] / source[0] > target[1] / source[1]:
        size = source[0], max(1, round(source[0] * target[1] / target[0]))
    else:
        size = min(source[0], math.ceil(target[0] * source[1] / target[1])), source[1]
    places = [
        max(0, min(int(share * outer - inner / 2), outer - inner))
        for share, outer, inner in zip(gravity, source, size, strict=True)
    ]
    return places[0], places[1], *size
