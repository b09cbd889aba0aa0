"""thumbor's geometry, to the pixel: from a source's size and a URL to what is cut and how far it is scaled."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared_lib.delivery.thumbor.grammar import ParsedUrl

Size = tuple[int, int]
Box = tuple[int, int, int, int]
"""Left, top, width, height, px."""


@dataclass(frozen=True, slots=True)
class FocalPoint:
    """A point to keep in view, px, with its weight."""

    x: int
    y: int
    width: int = 1
    height: int = 1
    weight: int = 1
    origin: str = "alignment"

    @classmethod
    def of_box(cls, left: int, top: int, right: int, bottom: int, origin: str) -> "FocalPoint":
        width, height = right - left, bottom - top
        return cls(left + width // 2, top + height // 2, width, height, width * height, origin)


@dataclass(frozen=True, slots=True)
class Plan:
    crop: Box | None
    """The part of the source that the URL cuts out."""
    cut: Box | None
    """Then cut, to have the target's ratio. None for nothing, and for a smart URL, which cuts by content."""
    size: Size
    """To which the rest is scaled, px."""
    frame: Size
    """The box that `fill` fills, and `upscale` touches, px. A side of 0 is the image's own."""
    points: tuple[FocalPoint, ...]
    """Within the crop."""


def ask_width(url: ParsedUrl) -> int | None:
    """Return the width that is asked for, px. What is made is no wider. None: it may be."""
    names = {name for name, _ in url.filters}
    is_wider = url.is_debug or "full" in url.fit or "adaptive" in url.fit or names & {"rotate", "frame"}
    return int(url.width) or None if url.width.isdigit() and not is_wider else None


def make_plan(
    source: Size,
    url: ParsedUrl,
    *,
    stretches: bool = False,
    may_enlarge: bool = True,
    points: Sequence[FocalPoint] = (),
) -> Plan:
    if not may_enlarge:
        url = replace(url, width=_clamp(url.width, source[0]), height=_clamp(url.height, source[1]))
    crop = _crop(source, url.crop)
    current = crop[2:] if crop else source
    target = _resolve(current, url)
    found = _move_into(crop, points) or (_align(current, url.gravity),)
    if url.fit:
        size = _fit(current, target, url.fit)
        return Plan(crop, None, size, _frame(current, target, size, url), found)
    is_smart = url.is_smart and not points
    cut = None if stretches or is_smart else _cut(current, target, _find_center(found))
    return Plan(crop, cut, target, target, found)


def _clamp(side: str, most: int) -> str:
    return f"{min(int(side), most)}" if side.isdigit() else side


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
    return (height, width) if _is_swapped(source, (width, height), url) else (width, height)


def _is_swapped(source: Size, target: Size, url: ParsedUrl) -> bool:
    is_adaptive = url.fit.startswith("adaptive")
    return is_adaptive and (target[0] - target[1]) * (source[0] - source[1]) < 0


def _fit(source: Size, target: Size, fit: str) -> Size:
    is_full = "full" in fit
    if not is_full and target[0] >= source[0] and target[1] >= source[1]:
        return source
    across, down = source[0] / target[0], source[1] / target[1]
    if across <= down if is_full else across >= down:
        return target[0], max(1, round(source[1] * target[0] / source[0] + 1e-5))
    return max(1, round(source[0] * target[1] / source[1] + 1e-5)), target[1]


def _frame(source: Size, target: Size, size: Size, url: ParsedUrl) -> Size:
    """Return the size as it was asked for, but no smaller than the image if that was scaled."""
    width = source[0] if url.width == "orig" else int(url.width or 0)
    height = source[1] if url.height == "orig" else int(url.height or 0)
    if _is_swapped(source, (target[1], target[0]), url):
        width, height = height, width
    if size == source and "full" not in url.fit:
        return width, height
    return max(width, size[0]), max(height, size[1])


def _move_into(crop: Box | None, points: Sequence[FocalPoint]) -> tuple[FocalPoint, ...]:
    """Return the points inside the crop, from its corner."""
    if crop is None:
        return tuple(points)
    left, top, width, height = crop
    inside = [each for each in points if left <= each.x <= left + width and top <= each.y <= top + height]
    return tuple(replace(each, x=each.x - left, y=each.y - top) for each in inside)


def _align(source: Size, gravity: tuple[float, float]) -> FocalPoint:
    return FocalPoint(int(source[0] * gravity[0]), int(source[1] * gravity[1]))


def _find_center(points: Sequence[FocalPoint]) -> tuple[int, int]:
    weight = sum(each.weight for each in points) or 1
    x, y = sum(each.x * each.weight for each in points), sum(each.y * each.weight for each in points)
    return x // weight, y // weight


def _cut(source: Size, target: Size, center: tuple[int, int]) -> Box | None:
    """Return the largest part of the target's ratio, around the center."""
    if round(source[0] / source[1], 2) == round(target[0] / target[1], 2):
        return None
    if target[0] / source[0] > target[1] / source[1]:
        size = source[0], max(1, round(source[0] * target[1] / target[0]))
    else:
        size = min(source[0], math.ceil(target[0] * source[1] / target[1])), source[1]
    places = [
        round(min(max(at - inner / 2, 0.0), outer - inner))
        for at, outer, inner in zip(center, source, size, strict=True)
    ]
    return places[0], places[1], *size
