"""One image, or text, laid on another."""

import math

import pyvips

from shared_lib.pipeline import operations as op
from shared_lib.pipeline.effects.channels import in_colour
from shared_lib.pipeline.effects.geometry import offset_of
from shared_lib.pipeline.effects.overlays import Overlays


def lay_on(do: op.Watermark | op.TextWatermark, image: pyvips.Image, overlays: Overlays) -> pyvips.Image:
    room = max(1, image.width - 2 * do.margin), max(1, image.height - 2 * do.margin)
    stamp = overlays.stamp(do, image.width, room)
    if stamp.bands > 2:
        image = in_colour(image)
    elif image.bands > 2:
        stamp = in_colour(stamp)
    stamp = _faded(stamp, do.opacity)
    if do.tile:
        return _over(image, _tiled(stamp, do.margin, image.width, image.height))
    left, top = offset_of(do.gravity or "south-east", room, (stamp.width, stamp.height))
    left, top = left + (image.width - room[0]) // 2, top + (image.height - room[1]) // 2
    # Only there: a small stamp costs as little on a large image as on a small one.
    part = _over(image.crop(left, top, stamp.width, stamp.height), stamp)
    return image.insert(part, left, top)


def _faded(stamp: pyvips.Image, opacity: float) -> pyvips.Image:
    if not stamp.hasalpha():
        stamp = stamp.addalpha()
    last = stamp.bands - 1
    return stamp[:last].bandjoin((stamp[last] * opacity).rint().cast("uchar"))


def _tiled(stamp: pyvips.Image, margin: int, width: int, height: int) -> pyvips.Image:
    cell = stamp.embed(margin, margin, stamp.width + margin, stamp.height + margin)  # transparent around it
    return cell.replicate(math.ceil(width / cell.width), math.ceil(height / cell.height)).crop(0, 0, width, height)


def _over(image: pyvips.Image, stamp: pyvips.Image) -> pyvips.Image:
    """Composite, weighed by opacity, in the channels that the image has: without alpha it stays without."""
    laid = image.cast("float").composite2(stamp.cast("float"), "over")  # which does not round what it casts
    return (laid if image.hasalpha() else laid[: laid.bands - 1]).rint().cast("uchar")
