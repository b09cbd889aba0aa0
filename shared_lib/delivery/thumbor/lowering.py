"""Lower thumbor's URLs to our operations: the geometry, the flips, and the filters in their order."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from shared_lib.delivery.thumbor.geometry import Plan, make_plan
from shared_lib.delivery.thumbor.grammar import ParsedUrl
from shared_lib.delivery.urls import NAME, to_invalid
from shared_lib.errors import Invalid
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.repositories.deliveries import PublishedImage

_COLORS = {
    "black": "#000000",
    "silver": "#c0c0c0",
    "gray": "#808080",
    "white": "#ffffff",
    "maroon": "#800000",
    "red": "#ff0000",
    "purple": "#800080",
    "fuchsia": "#ff00ff",
    "green": "#008000",
    "lime": "#00ff00",
    "olive": "#808000",
    "yellow": "#ffff00",
    "navy": "#000080",
    "blue": "#0000ff",
    "teal": "#008080",
    "aqua": "#00ffff",
    "transparent": "transparent",
}
_FORMATS = {"png": Format.PNG, "jpeg": Format.JPEG, "jpg": Format.JPEG, "gif": Format.GIF, "webp": Format.WEBP}
_FORMATS["avif"] = Format.AVIF
_KEPT = (Format.JPEG, Format.PNG, Format.GIF, Format.WEBP)
_LOSSY = (Format.JPEG, Format.WEBP, Format.AVIF)
_LEAST_SIGMA, _LEAST_BYTES = 0.3, 1_000

REFUSED = frozenset(
    {
        "brightness",
        "contrast",
        "saturation",
        "rgb",
        "colorize",
        "equalize",
        "curve",
        "noise",
        "convolution",
        "sharpen",
        "round_corner",
        "watermark",
        "frame",
        "focal",
        "extract_focal",
        "upscale",
    }
)
"""thumbor's filters without an operation that does exactly the same."""


@dataclass
class _Work:
    plan: Plan
    source: Format
    operations: list[dict[str, Any]] = field(default_factory=list)
    output: dict[str, Any] = field(default_factory=dict)


Effect = Callable[[_Work, str], None]


def lower(url: ParsedUrl, image: PublishedImage) -> Recipe:
    """Raises Invalid for a filter that is refused. One that nobody knows is ignored, as thumbor does."""
    names = {name for name, _ in url.filters}
    if refused := names & REFUSED:
        raise Invalid(f"{min(refused)}: it is not understood here")
    source = image.width, image.height
    plan = make_plan(source, url, stretches="stretch" in names, may_enlarge="no_upscale" not in names)
    work = _Work(plan, image.form, [*_shape(url, plan)], {"quality": 80, "progressive": True, "profile": "keep"})
    for name, arguments in url.filters:
        if effect := FILTERS.get(name):
            effect(work, arguments.strip())
    form = work.output.get("format") or (image.form if image.form in _KEPT else Format.PNG)
    work.output["format"] = form
    if form not in _LOSSY:
        work.output.pop("quality")
        work.output.pop("maxBytes", None)
    if form not in (Format.JPEG, Format.PNG):
        work.output.pop("progressive")
    try:
        return read_recipe({"name": NAME, "operations": work.operations, "output": work.output})
    except ValidationError as error:
        raise to_invalid(error) from error


def _shape(url: ParsedUrl, plan: Plan) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [_crop(each) for each in (plan.crop, plan.cut) if each]
    fit = {"fit": "cover", "gravity": "smart"} if url.is_smart and not url.fit else {"fit": "fill"}
    found.append({"kind": "resize", "width": plan.size[0], "height": plan.size[1], **fit})
    found += ({"kind": kind} for kind, is_on in zip(("flop", "flip"), url.flip, strict=True) if is_on)
    return found


def _crop(box: tuple[int, int, int, int]) -> dict[str, Any]:
    left, top, width, height = box
    return {"kind": "crop", "left": left, "top": top, "width": width, "height": height}


def _color(text: str) -> str:
    """Return a color as CSS has it. Raises Invalid."""
    name = text.strip().strip("'").lower()
    if name in _COLORS:
        return _COLORS[name]
    digits = name.removeprefix("#")
    if not re.fullmatch("[0-9a-f]{3}|[0-9a-f]{6}", digits):
        raise Invalid(f"{name[:20]!r} is no color that is understood here")
    return f"#{digits}"


def _fill(work: _Work, arguments: str) -> None:
    color, _, fills_transparent = arguments.partition(",")
    background = _color(color)
    width, height = work.plan.frame
    if (width, height) != work.plan.size:
        work.operations.append({"kind": "pad", "width": width, "height": height, "background": background})
    if fills_transparent.strip().lower() in ("1", "true") and background != "transparent":
        work.operations.append({"kind": "flatten", "background": background})


def _blur(work: _Work, arguments: str) -> None:
    found = re.fullmatch(r"(\d+)(?:\s*,\s*(\d+(?:\.\d+)?))?", arguments)
    if found and (sigma := float(found[2] or found[1])) >= _LEAST_SIGMA:
        work.operations.append({"kind": "blur", "sigma": sigma})


def _rotate(work: _Work, arguments: str) -> None:
    """Counter-clockwise, unlike ours."""
    if re.fullmatch(r"-?\d{1,4}", arguments) and int(arguments) % 90 == 0 and int(arguments) % 360:
        work.operations.append({"kind": "rotate", "angle": float(-int(arguments) % 360)})


def _proportion(work: _Work, arguments: str) -> None:
    if re.fullmatch(r"0?\.\d+|1(\.0*)?", arguments) and (share := float(arguments)) > 0:
        width, height = (max(1, int(side * share)) for side in work.plan.size)
        work.operations.append({"kind": "resize", "width": width, "height": height, "fit": "fill"})


def _number(name: str, least: int, most: int) -> Effect:
    def effect(work: _Work, arguments: str) -> None:
        if re.fullmatch(r"\d{1,9}", arguments):
            work.output[name] = max(least, min(int(arguments), most))

    return effect


def _format(work: _Work, arguments: str) -> None:
    if arguments.lower() in _FORMATS:
        work.output["format"] = _FORMATS[arguments.lower()]


def _append(**operation: Any) -> Effect:  # noqa: ANN401  any parameter
    return lambda work, _: work.operations.append(operation)


def _nothing(_work: _Work, _arguments: str) -> None:
    """What it does is done anyway, or elsewhere."""


FILTERS: Mapping[str, Effect] = {
    "fill": _fill,
    "background_color": lambda work, arguments: _append(kind="flatten", background=_color(arguments))(work, ""),
    "blur": _blur,
    "grayscale": _append(kind="grayscale"),
    "rotate": _rotate,
    "proportion": _proportion,
    "format": _format,
    "quality": _number("quality", 1, 100),
    "max_bytes": _number("maxBytes", _LEAST_BYTES, 10_000_000),
    "strip_icc": lambda work, _: work.output.update(profile="srgb"),
    "strip_exif": _nothing,
    "max_age": _nothing,
    "no_upscale": _nothing,
    "stretch": _nothing,
}
