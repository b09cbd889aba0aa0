"""Lower imgproxy's options to our operations, in its order."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from shared_lib.delivery.imgproxy.geometry import Plan, Size, make_plan
from shared_lib.delivery.imgproxy.options import Gravity, Options, Trim, Watermark
from shared_lib.delivery.imgproxy.relative import find_dpr, scale_relatively, translate_gravity
from shared_lib.delivery.negotiation import Accepted
from shared_lib.delivery.order import ORIGINAL
from shared_lib.delivery.urls import NAME, name_options
from shared_lib.errors import Invalid
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.repositories.deliveries import PublishedImage

_QUALITY = {Format.JPEG: 80, Format.WEBP: 79, Format.AVIF: 63, Format.JXL: 77}
_MARGINS = ("pad", "extend")
_LEAST_SIGMA = 0.3  # below it nothing changes, and our operations refuse it
_LEAST_BYTES = 1_000


@dataclass(frozen=True, slots=True)
class Mark:
    """The image that `watermark` lays on, as the operator has chosen it."""

    image: UUID
    opacity: float


def lower(options: Options, accepted: Accepted, mark: Mark | None, image: PublishedImage) -> Recipe:
    """Return a recipe, or ORIGINAL for a source that is sent as it is. Raises Invalid."""
    if options.is_raw or (image.form in options.skip_processing and options.format in (None, image.form)):
        return ORIGINAL
    described = {
        "name": NAME,
        "operations": _operations(options, image, mark),
        "output": _output(options, accepted, image),
    }
    try:
        return read_recipe(described)
    except ValidationError as error:
        raise name_options(error) from error


def _operations(options: Options, image: PublishedImage, mark: Mark | None) -> list[dict[str, Any]]:
    source = image.width, image.height
    is_planned = options.trim is None and options.auto_rotate
    plan = make_plan(source, options, is_vector=image.form is Format.SVG) if is_planned else None
    if plan:
        scaling, margins = _scale(plan), [{"kind": "extend", **each._asdict()} for each in plan.margins]
    else:
        relative = scale_relatively(options, source)
        scaling = [each for each in relative if each["kind"] not in _MARGINS]
        margins = [each for each in relative if each["kind"] in _MARGINS]
    found = [*_turn(options), *scaling, *_soften(options), *margins]
    if options.background:
        found.append({"kind": "flatten", "background": options.background})
    if mark and options.watermark:
        dpr, size = (plan.dpr, plan.size) if plan else (find_dpr(options), None)
        found.append(_watermark(options.watermark, mark, dpr, size))
    return found


def _turn(options: Options) -> Iterator[dict[str, Any]]:
    if options.trim:
        yield _trim(options.trim)
    if not options.auto_rotate:
        yield {"kind": "unrotate"}
    if options.rotate:
        yield {"kind": "rotate", "angle": float(options.rotate)}
    yield from ({"kind": kind} for kind, is_on in zip(("flop", "flip"), options.flip, strict=True) if is_on)


def _soften(options: Options) -> Iterator[dict[str, Any]]:
    if options.blur >= _LEAST_SIGMA:
        yield {"kind": "blur", "sigma": options.blur}
    if options.sharpen >= _LEAST_SIGMA:
        yield {"kind": "sharpen", "sigma": options.sharpen}
    if options.pixelate > 1:
        yield {"kind": "pixelate", "size": options.pixelate}


def _trim(trim: Trim) -> dict[str, Any]:
    equal = {(True, True): "both", (True, False): "horizontal", (False, True): "vertical"}.get(trim.equal, "none")
    found = {"kind": "trim", "threshold": min(trim.threshold, 255), "equal": equal}
    return found | ({"color": trim.color} if trim.color else {})


def _watermark(watermark: Watermark, mark: Mark, dpr: float | None, size: Size | None) -> dict[str, Any]:
    """The part of dpr that is had, and the image's size, px, are None if they are unknown."""
    described: dict[str, Any] = {"image": str(mark.image), "opacity": watermark.opacity * mark.opacity}
    if watermark.scale:
        described |= {"scale": min(watermark.scale, 1), "height": min(watermark.scale, 1)}
    offsets = [_offset(value, dpr, size and size[axis]) for axis, value in enumerate((watermark.x, watermark.y))]
    if watermark.position == "re":
        return {"kind": "watermark", **described, "tile": True, "gaps": [max(0, each) for each in offsets]}
    gravity = translate_gravity(Gravity(watermark.position))
    return {"kind": "watermark", **described, "gravity": gravity, "x": offsets[0], "y": offsets[1]}


def _offset(value: float, dpr: float | None, side: int | None) -> int:
    """Return px, of a number that means px from 1 on and below it a share of the side."""
    if not value:
        return 0
    if abs(value) >= 1 and dpr is not None:
        return round(value * dpr)
    if side is None:
        raise Invalid("watermark: an offset by a share or by dpr can't follow trim: no size is known before it is made")
    return round(value * side)


def _scale(plan: Plan) -> list[dict[str, Any]]:
    if plan.cut is None:
        return _scaling(plan)
    if len(plan.cut) == 2:
        cut: dict[str, Any] = {"width": plan.cut[0], "height": plan.cut[1], "gravity": "smart"}
    else:
        cut = plan.cut._asdict()
    return [{"kind": "crop", **cut}, *_scaling(plan)]


def _scaling(plan: Plan) -> list[dict[str, Any]]:
    width, height = plan.scaled
    if plan.kept and len(plan.kept) == 2:
        return [{"kind": "resize", "width": plan.kept[0], "height": plan.kept[1], "fit": "cover", "gravity": "smart"}]
    resize = {"kind": "resize", "width": width, "height": height, "fit": "fill"}
    if plan.kept is None:
        return [resize]
    left, top, kept_width, kept_height = plan.kept
    return [resize, {"kind": "crop", "left": left, "top": top, "width": kept_width, "height": kept_height}]


def _output(options: Options, accepted: Accepted, image: PublishedImage) -> dict[str, Any]:
    form = options.format or _choose_format(accepted, image.form)
    output: dict[str, Any] = {"format": form or ("source" if image.form is Format.SVG else "compatible")}
    quality = options.quality or options.format_quality.get(form or Format.JPEG) or _QUALITY.get(form or Format.JPEG)
    if quality and form in (None, *_QUALITY):
        output["quality"] = quality
    if options.max_bytes and form in (None, *_QUALITY):
        output["maxBytes"] = max(_LEAST_BYTES, options.max_bytes)
    output["metadata"] = "keep" if not options.strip_metadata else "copyright" if options.keep_copyright else "strip"
    if not options.strip_color_profile and form is not Format.JXL:
        output["profile"] = "keep"
    return output


def _choose_format(accepted: Accepted, source: Format) -> Format | None:
    """Return the format, or None if the image's transparency decides between JPEG and PNG."""
    if accepted != "any":
        return Format(accepted)
    return source if source in (Format.JPEG, Format.PNG, Format.GIF) else None
