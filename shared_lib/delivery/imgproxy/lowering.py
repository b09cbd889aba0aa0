"""Lower imgproxy's options to our operations, in its order."""

from typing import Any

from pydantic import ValidationError

from shared_lib.delivery.imgproxy.geometry import Plan, make_plan
from shared_lib.delivery.imgproxy.options import Options
from shared_lib.delivery.negotiation import Accepted
from shared_lib.delivery.urls import NAME, to_invalid
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.repositories.deliveries import PublishedImage

_QUALITY = {Format.JPEG: 80, Format.WEBP: 79, Format.AVIF: 63, Format.JXL: 77}
_LEAST_SIGMA = 0.3  # below it nothing changes, and our operations refuse it
_LEAST_BYTES = 1_000


def lower(options: Options, accepted: Accepted, image: PublishedImage) -> Recipe:
    """Raises Invalid."""
    described = {
        "name": NAME,
        "operations": _operations(options, make_plan((image.width, image.height), options)),
        "output": _output(options, accepted, image),
    }
    try:
        return read_recipe(described)
    except ValidationError as error:
        raise to_invalid(error) from error


def _operations(options: Options, plan: Plan) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if options.rotate:
        found.append({"kind": "rotate", "angle": float(options.rotate)})
    if options.flip[0]:
        found.append({"kind": "flop"})
    if options.flip[1]:
        found.append({"kind": "flip"})
    if plan.cut:
        found.append({"kind": "crop", **plan.cut._asdict()})
    found += _scaling(plan)
    if options.blur >= _LEAST_SIGMA:
        found.append({"kind": "blur", "sigma": options.blur})
    if options.sharpen >= _LEAST_SIGMA:
        found.append({"kind": "sharpen", "sigma": options.sharpen})
    if options.pixelate > 1:
        found.append({"kind": "pixelate", "size": options.pixelate})
    found += ({"kind": "extend", **each._asdict()} for each in plan.margins)
    if options.background:
        found.append({"kind": "flatten", "background": options.background})
    return found


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
    output: dict[str, Any] = {"format": form or "source"}
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
