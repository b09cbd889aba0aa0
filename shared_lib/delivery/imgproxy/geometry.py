"""imgproxy's geometry, to the pixel: from a source's size and the options to what is cut, scaled and added."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from shared_lib.delivery.imgproxy.options import Crop, Extend, Gravity, Options

Size = tuple[int, int]


class Box(NamedTuple):
    left: int
    top: int
    width: int
    height: int


class Margins(NamedTuple):
    top: int
    right: int
    bottom: int
    left: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All sizes in px, after the rotation."""

    cut: Box | Size | None
    """Of the source: where, or only the size, if its content decides where."""
    scaled: Size
    """The size to which that is scaled."""
    kept: Box | Size | None
    """Of the scaled image: where, or only the size, if its content decides where."""
    margins: tuple[Margins, ...]
    """Added one after the other."""
    dpr: float
    """The part of the dpr that is asked for which can be had."""

    @property
    def size(self) -> Size:
        width, height = self.kept[-2:] if self.kept else self.scaled
        across = sum(each.left + each.right for each in self.margins)
        return width + across, height + sum(each.top + each.bottom for each in self.margins)


def make_plan(source: Size, options: Options, *, is_vector: bool = False) -> Plan:
    """Plan for a source of this size, px, upright and before the rotation. A vector graphic has any size."""
    if options.rotate % 180:
        source = source[1], source[0]
    cut = _cut(source, options.crop, options.gravity)
    before: Size = cut[-2:] if cut else source
    scale, dpr = _scale(before, options, may_enlarge=options.enlarge or is_vector)
    scaled = _nearest(before[0] * scale[0]), _nearest(before[1] * scale[1])
    target = _nearest(options.width * dpr * options.zoom[0], 0), _nearest(options.height * dpr * options.zoom[1], 0)
    kept = _keep(scaled, _crop_to(target, scaled, options), options.gravity, dpr)
    current: Size = kept[-2:] if kept else scaled
    margins = []
    for extend, canvas in (
        (options.extend, target),
        (options.extend_aspect_ratio, _extend_to_ratio(target, current)),
    ):
        if added := _extend(extend, current, canvas, dpr):
            margins.append(added)
            current = current[0] + added.left + added.right, current[1] + added.top + added.bottom
    if any(options.padding):
        margins.append(Margins(*(round(each * dpr) for each in options.padding)))
    return Plan(cut, scaled, kept, tuple(margins), dpr)


def ask_width(options: Options) -> int | None:
    """Return the width that is asked for, px. No plan's is larger. None: it may be."""
    if not options.width or options.dpr < 1:  # of a small image, dpr is raised up to 1
        return None
    _, right, _, left = (round(each * options.dpr) for each in options.padding)
    return _nearest(options.width * options.dpr * options.zoom[0]) + right + left


def _nearest(value: float, least: int = 1) -> int:
    return max(least, math.floor(value + 0.5))


def _cut(source: Size, crop: Crop, gravity: Gravity) -> Box | Size | None:
    wanted = _crop_side(source[0], crop.width), _crop_side(source[1], crop.height)
    if wanted == source:
        return None
    chosen = crop.gravity or gravity
    # It is cut before scaling, so dpr doesn't count.
    return wanted if chosen.type == "sm" else _place(source, wanted, chosen, 1)


def _crop_side(side: int, wanted: float) -> int:
    if wanted == 0:
        return side
    return min(side, int(wanted) if wanted >= 1 else _nearest(side * wanted))


def _scale(source: Size, options: Options, *, may_enlarge: bool) -> tuple[tuple[float, float], float]:
    """Return the scale of each side, and the part of dpr that can be had without enlarging."""
    across, down = _shrink(source, options)
    across, down = across / options.zoom[0], down / options.zoom[1]
    dpr = options.dpr
    if not may_enlarge:
        least = min(across, down)
        if least < 1:
            across, down = across / least, down / least
            if not options.extend.enabled:
                dpr /= least
        dpr = min(dpr, across, down)
    if options.min_width and (most := source[0] / options.min_width) < across:
        across, down = most, down * most / across
    if options.min_height and (most := source[1] / options.min_height) < down:
        across, down = across * most / down, most
    across, down = min(across / dpr, source[0]), min(down / dpr, source[1])
    return (1 / across, 1 / down), dpr


def _shrink(source: Size, options: Options) -> tuple[float, float]:
    """Return how many times smaller width and height become, before zoom and dpr."""
    target = options.width or source[0], options.height or source[1]
    across, down = source[0] / target[0], source[1] / target[1]
    kind = options.resizing_type
    if kind == "auto":
        kind = "fill" if (source[0] >= source[1]) == (target[0] >= target[1]) else "fit"
    if kind == "force" or (across, down) == (1, 1):
        return across, down
    if not options.width:
        return down, down
    if not options.height:
        return across, across
    chosen = max(across, down) if kind == "fit" else min(across, down)
    return chosen, chosen


def _crop_to(target: Size, scaled: Size, options: Options) -> Size:
    """Return the size that is kept of the scaled image at most. A side of 0 is not restricted."""
    if options.resizing_type != "fill-down" or options.enlarge or 0 in target:
        return target
    across, down = target[0] / scaled[0], target[1] / scaled[1]
    if across > down and across > 1:
        return scaled[0], _nearest(scaled[0] * (target[1] / target[0]), 0)
    if down > across and down > 1:
        return _nearest(scaled[1] * (target[0] / target[1]), 0), scaled[1]
    return target


def _keep(scaled: Size, wanted: Size, gravity: Gravity, dpr: float) -> Box | Size | None:
    size = min(wanted[0] or scaled[0], scaled[0]), min(wanted[1] or scaled[1], scaled[1])
    if size == scaled:
        return None
    return size if gravity.type == "sm" else _place(scaled, size, gravity, dpr)


def _extend_to_ratio(target: Size, current: Size) -> Size:
    """Return the smallest canvas of the target's ratio. One side of it is 0, and so remains."""
    if 0 in target:
        return 0, 0
    across, down = target[0] / current[0], target[1] / current[1]
    if down > across:
        return current[0], _nearest(current[0] * (target[1] / target[0]))
    if across > down:
        return _nearest(current[1] * (target[0] / target[1])), current[1]
    return 0, 0


def _extend(extend: Extend, current: Size, canvas: Size, dpr: float) -> Margins | None:
    width, height = max(canvas[0], current[0]), max(canvas[1], current[1])
    if not extend.enabled or (width, height) == current:
        return None
    left, top, _, _ = _place((width, height), current, extend.gravity, dpr)
    return Margins(top, width - current[0] - left, height - current[1] - top, left)


def _place(outer: Size, inner: Size, gravity: Gravity, dpr: float) -> Box:
    """Place the inner size in the outer one. Offsets push inwards from the edge that the gravity names."""
    room = outer[0] - inner[0], outer[1] - inner[1]
    if gravity.type == "fp":
        left, top = round(outer[0] * gravity.x) - inner[0] // 2, round(outer[1] * gravity.y) - inner[1] // 2
    else:
        x, y = _offset(gravity.x, outer[0], dpr), _offset(gravity.y, outer[1], dpr)
        left, top = round((room[0] + 1) / 2) + x, round((room[1] + 1) / 2) + y
        if gravity.type.startswith("no"):
            top = y
        if gravity.type.startswith("so"):
            top = room[1] - y
        if gravity.type.endswith("we"):
            left = x
        if gravity.type.endswith("ea"):
            left = room[0] - x
    return Box(max(0, min(left, room[0])), max(0, min(top, room[1])), *inner)


def _offset(value: float, side: int, dpr: float) -> int:
    """Px from 1 on, below it a share of the outer side."""
    return round(value * dpr) if abs(value) >= 1 else round(side * value)
