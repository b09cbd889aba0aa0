"""Lower thumbor's URLs to our operations: trimming, the geometry, the flips, and the filters in their order."""

import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ValidationError

from shared_lib.delivery.thumbor.filters import Work, apply_filters
from shared_lib.delivery.thumbor.geometry import Box, FocalPoint, Plan, make_plan
from shared_lib.delivery.thumbor.grammar import ParsedUrl, read_integer
from shared_lib.delivery.urls import NAME, name_options
from shared_lib.errors import Invalid
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.repositories.deliveries import PublishedImage

Preferred = Format | Literal["compatible"] | None
"""The format if no filter names one. None: the image's own."""

_KEPT = (Format.JPEG, Format.PNG, Format.GIF, Format.WEBP)
_LOSSY = ("compatible", Format.JPEG, Format.WEBP, Format.AVIF)
_MARK = 10  # px a side of a focal point that has no size of its own


def lower(url: ParsedUrl, points: Sequence[FocalPoint], preferred: Preferred, image: PublishedImage) -> Recipe:
    """Raises Invalid."""
    work = _trim(url) if url.trim and not url.crop else _scale(url, plan_for(url, points, image), points)
    for is_on, kind in zip(url.flip, ("flop", "flip"), strict=True):
        if is_on and not url.is_debug:
            work.append(kind)
    work.output = {"quality": 80, "progressive": True, "profile": "keep"}
    apply_filters(work, url.filters)
    form = work.output.get("format") or _choose_format(preferred, image.form)
    work.output["format"] = form
    if form not in _LOSSY:
        work.output.pop("quality")
        work.output.pop("maxBytes", None)
    if form not in ("compatible", Format.JPEG, Format.PNG):
        work.output.pop("progressive")
    if form is image.form is Format.GIF and not url.is_smart and not url.trim:
        work.output["animation"] = "keep"  # what is smart or trimmed would differ from frame to frame
    try:
        return read_recipe({"name": NAME, "operations": work.operations, "output": work.output})
    except ValidationError as error:
        raise name_options(error) from error


def plan_for(url: ParsedUrl, points: Sequence[FocalPoint], image: PublishedImage) -> Plan:
    names = {name for name, _ in url.filters}
    source = image.width, image.height
    return make_plan(source, url, stretches="stretch" in names, may_enlarge="no_upscale" not in names, points=points)


def _choose_format(preferred: Preferred, source: Format) -> Format | Literal["compatible"]:
    if source is Format.GIF:  # which may be animated
        return source
    return preferred or (source if source in _KEPT else Format.PNG)


def _scale(url: ParsedUrl, plan: Plan, points: Sequence[FocalPoint]) -> Work:
    current = plan.crop[2:] if plan.crop else None
    work = Work(plan.size, plan.frame, [_crop(plan.crop)] if plan.crop else [])
    if url.is_debug:
        work.size = current
        for each in plan.points if points else ():
            _mark(work, each)
        return work
    if plan.cut:
        work.operations.append(_crop(plan.cut))
    fit = {"fit": "cover", "gravity": "smart"} if url.is_smart and not (url.fit or points) else {"fit": "fill"}
    work.append("resize", width=plan.size[0], height=plan.size[1], **fit)
    return work


def _trim(url: ParsedUrl) -> Work:
    """Scale what is left by operations whose result follows from its size, which is unknown here."""
    corner, tolerance = url.trim or ("", 0)
    work = Work(None, (int(url.width) if url.width.isdigit() else 0, int(url.height) if url.height.isdigit() else 0))
    work.append(
        "trim",
        measure="euclidean",
        threshold=float(min(tolerance, 442)),
        corner="northwest" if corner == "top-left" else "southeast",
    )
    if "orig" in (url.width, url.height) or url.fit.startswith("adaptive"):
        raise Invalid("trim leaves a size that isn't known before it is made: give width and height")
    width, height = work.frame
    if not (width or height) or url.is_debug:
        return work
    names = {name for name, _ in url.filters}
    resize: dict[str, Any] = {"fit": "inside", "enlarge": "no_upscale" not in names}
    if width and height:
        resize = _fit(url, resize["enlarge"], stretches="stretch" in names)
        work.size = work.frame if not url.fit and resize["enlarge"] else None
    elif url.fit == "fit-in":
        resize["enlarge"] = False
    work.append("resize", **{name: side for name, side in (("width", width), ("height", height)) if side}, **resize)
    return work


def _fit(url: ParsedUrl, may_enlarge: bool, *, stretches: bool) -> dict[str, Any]:  # noqa: FBT001  as it is passed on
    if url.fit == "fit-in":
        return {"fit": "inside", "enlarge": False}
    if url.fit:
        return {"fit": "outside", "enlarge": may_enlarge}
    if stretches:
        return {"fit": "fill", "enlarge": may_enlarge}
    gravity: Any = "smart" if url.is_smart else {"x": url.gravity[0], "y": url.gravity[1]}
    return {"fit": "cover", "gravity": gravity, "enlarge": may_enlarge}


def _crop(box: Box) -> dict[str, Any]:
    left, top, width, height = box
    return {"kind": "crop", "left": left, "top": top, "width": width, "height": height}


def _mark(work: Work, point: FocalPoint) -> None:
    width, height = (_MARK if side <= 1 else side for side in (point.width, point.height))
    left, top = point.x - width // 2, point.y - height // 2
    work.append(
        "rectangle",
        left=max(0, left),
        top=max(0, top),
        width=max(1, width + 1 + min(0, left)),
        height=max(1, height + 1 + min(0, top)),
        thickness=1,
    )


def describe(url: ParsedUrl, points: Sequence[FocalPoint], image: PublishedImage) -> dict[str, Any]:
    """Return what thumbor's /meta/ describes. Raises Invalid for a trimmed image."""
    if url.trim and not url.crop:
        raise Invalid("What trim leaves isn't known before it is made")
    plan = plan_for(url, points, image)
    operations: list[dict[str, Any]] = []
    for box in (plan.crop, plan.cut):
        if box:
            left, top, width, height = box
            operations.append({"type": "crop", "left": left, "top": top, "right": left + width, "bottom": top + height})
    before = plan.cut or plan.crop
    if plan.size != (before[2:] if before else (image.width, image.height)):
        operations.append({"type": "resize", "width": plan.size[0], "height": plan.size[1]})
    flips = zip(url.flip, ("flip_horizontally", "flip_vertically"), strict=True)
    operations += [{"type": name} for is_on, name in flips if is_on]
    width, height = plan.size
    return {
        "thumbor": {
            "source": {"url": url.image, "width": width, "height": height, "frameCount": 1},
            "operations": operations,
            "target": {"width": width, "height": height},
            "focal_points": [
                {"x": p.x, "y": p.y, "z": p.weight, "height": p.height, "width": p.width, "origin": p.origin}
                for p in plan.points
            ],
        }
    }


def read_focal_points(url: ParsedUrl) -> tuple[FocalPoint, ...]:
    """Return the points of the filter `focal`."""
    found = (re.match(r"'?(\d+)x(\d+):(\d+)x(\d+)", text) for name, text in url.filters if name == "focal")
    boxes = (tuple(map(read_integer, each.groups())) for each in found if each)
    return tuple(
        FocalPoint.of_box(left, top, right, bottom, "Explicit")
        for left, top, right, bottom in boxes
        if right > left and bottom > top
    )
