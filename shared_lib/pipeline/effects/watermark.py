"""One image laid on another."""

import math

import pyvips

from shared_lib.pipeline import operations as op
from shared_lib.pipeline.effects.channels import in_colour
from shared_lib.pipeline.effects.geometry import offset_of
from shared_lib.pipeline.overlays import Overlays


def watermark(do: op.Watermark, image: pyvips.Image, overlays: Overlays) -> pyvips.Image:
    width, height = overlays.size_of(do.image)
    wanted = 1.0 if do.scale is None else do.scale * image.width / width
    room = _room(do, image)
    scale = min(wanted, room[0] / width, room[1] / height)
    return _lay_on(do, image, overlays.stamp(do.image, max(1, round(width * scale)), max(1, round(height * scale))))


def _room(do: op.Watermark, image: pyvips.Image) -> tuple[int, int]:
    """What the margins leave of an image's width and height."""
    return max(1, image.width - 2 * do.margin), max(1, image.height - 2 * do.margin)


def _lay_on(do: op.Watermark, image: pyvips.Image, stamp: pyvips.Image) -> pyvips.Image:
    """Lay a stamp, not larger than there is room, where the operation says."""
    if stamp.bands > 2:
        image = in_colour(image)
    elif image.bands > 2:
        stamp = in_colour(stamp)
    stamp = _faded(stamp, do.opacity)
    if do.tile:
        return _over(image, _tiled(stamp, do.margin, image.width, image.height))
    room = _room(do, image)
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
    """Composite, weighed by opacity, in what the image has: without alpha it stays without."""
    laid = image.composite2(stamp, "over")
    return laid if image.hasalpha() else laid[: laid.bands - 1]
