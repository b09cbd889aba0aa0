"""Lower imgproxy's geometry for a size that is only known when pixels are read: trimmed, or as it is stored."""

from typing import Any

from shared_lib.delivery.imgproxy.options import Gravity, Options
from shared_lib.errors import Invalid
from shared_lib.limits import MAX_SIDE

_COMPASS = {
    "ce": "center",
    "no": "north",
    "so": "south",
    "ea": "east",
    "we": "west",
    "noea": "northeast",
    "nowe": "northwest",
    "soea": "southeast",
    "sowe": "southwest",
}

Size = tuple[int, int]


def scale_relatively(options: Options, source: Size) -> list[dict[str, Any]]:
    """Return operations that follow from each image's own size. Raises Invalid for what has none.

    The source's size, px, upright, only decides what `auto` is.
    """
    found: list[dict[str, Any]] = []
    if options.crop.width or options.crop.height:
        found.append(_crop(options))
    target = _target(options)
    if any(target):
        found += _resize(options, target, source)
    elif (options.zoom, options.dpr) != ((1, 1), 1):
        raise _unknown("zoom and dpr need width or height")
    if options.extend.enabled and all(target):
        _require_dpr(options)
        gravity = translate_gravity(options.extend.gravity)
        found.append({"kind": "pad", "width": target[0], "height": target[1], "gravity": gravity})
    if any(options.padding):
        dpr = _require_dpr(options)
        sides = zip(("top", "right", "bottom", "left"), options.padding, strict=True)
        found.append({"kind": "extend", **{name: round(side * dpr) for name, side in sides}})
    if options.min_width or options.min_height or options.extend_aspect_ratio.enabled:
        raise _unknown("min-width, min-height and extend_aspect_ratio can't follow")
    return found


def find_dpr(options: Options) -> float | None:
    """Return the part of dpr that can be had. None: it is unknown, because nothing may be enlarged for it."""
    return options.dpr if options.enlarge or options.dpr == 1 else None


def _require_dpr(options: Options) -> float:
    dpr = find_dpr(options)
    if dpr is None:
        raise _unknown("dpr can't follow with padding, extend or a size of two sides that is filled")
    return dpr


def translate_gravity(gravity: Gravity) -> Any:  # noqa: ANN401  a compass point or a focus
    """Return our gravity. Raises Invalid for offsets."""
    if gravity.type == "sm":
        return "smart"
    if gravity.type == "fp":
        return {"x": gravity.x, "y": gravity.y}
    if gravity.x or gravity.y:
        raise _unknown("offsets can't follow")
    return _COMPASS[gravity.type]


def _target(options: Options) -> Size:
    across, down = (options.width * options.zoom[0], options.height * options.zoom[1])
    return int(across * options.dpr + 0.5), int(down * options.dpr + 0.5)


def _crop(options: Options) -> dict[str, Any]:
    sides = (options.crop.width, options.crop.height)
    if any(0 < side < 1 for side in sides):
        raise _unknown("a crop by shares can't follow")
    width, height = (min(int(side) or MAX_SIDE, MAX_SIDE) for side in sides)
    gravity = translate_gravity(options.crop.gravity or options.gravity)
    return {"kind": "crop", "width": width, "height": height, "gravity": gravity}


def _resize(options: Options, target: Size, source: Size) -> list[dict[str, Any]]:
    width, height = target
    sides = {name: side for name, side in (("width", width), ("height", height)) if side}
    resize: dict[str, Any] = {"kind": "resize", **sides, "fit": "inside", "enlarge": options.enlarge}
    kind = options.resizing_type
    if kind == "auto":
        kind = "fill" if (source[0] >= source[1]) == (width >= height) else "fit"
    if len(sides) == 1 or kind == "fit":
        return [resize]
    _require_dpr(options)
    if kind == "force":
        return [resize | {"fit": "fill"}]
    gravity = translate_gravity(options.gravity)
    if kind == "fill-down" and not options.enlarge:
        return [{"kind": "cropToRatio", "width": width, "height": height, "gravity": gravity}, resize]
    return [resize | {"fit": "cover", "gravity": gravity}]


def _unknown(what: str) -> Invalid:
    return Invalid(f"{what} trim or auto_rotate:0, which leave a size that isn't known before it is made")
