"""Size, position and direction."""

import math

import pyvips

from shared_lib.pipeline import operations as op
from shared_lib.pipeline.effects.channels import in_linear_light, opaque_or_not, premultiplied
from shared_lib.pipeline.parameters import Colour, Focus, Gravity

_KERNEL_RADIUS = 3  # px, of Lanczos 3
_WASTE = 4  # times the area of the result; what a cover may scale in vain before the source is cut first
_SMART_WASTE = 20  # the same for a smart cover, which must see everything; beyond it the middle is taken
_SHARES = {"north": (0.5, 0.0), "east": (1.0, 0.5), "south": (0.5, 1.0), "west": (0.0, 0.5), "centre": (0.5, 0.5)}
_SHARES |= {"north-east": (1.0, 0.0), "south-east": (1.0, 1.0), "south-west": (0.0, 1.0), "north-west": (0.0, 0.0)}


def resize(do: op.Resize, image: pyvips.Image) -> pyvips.Image:
    scale = _scales(do, (image.width, image.height))
    if do.fit == "cover" and do.width and do.height:
        return _cover(do, image, scale[0], (do.width, do.height))
    size = max(1, round(image.width * scale[0])), max(1, round(image.height * scale[1]))
    scaled = resample(image, *size, linear=do.linear)
    if do.fit == "contain" and do.width and do.height:
        return _pad(scaled, (do.width, do.height), do.gravity, do.background)
    return scaled


def needed_scale(do: op.Operation, size: tuple[int, int]) -> float:
    """At which scale, at least, an image of this size must be decoded so that the operation loses nothing."""
    if not isinstance(do, op.Resize):
        return 1.0
    scale = max(_scales(do, size))
    return max(1.0, scale) if do.linear else scale  # decoders that scale average what is stored, which is not light


def _scales(do: op.Resize, size: tuple[int, int]) -> tuple[float, float]:
    """How much wider and how much higher the image becomes."""
    ratios = [wanted / is_now for wanted, is_now in zip((do.width, do.height), size, strict=True) if wanted is not None]
    if len(ratios) == 1:
        across = down = ratios[0]
    elif do.fit == "fill":
        across, down = ratios
    elif do.fit in {"cover", "outside"}:
        across = down = max(ratios)
    else:
        across = down = min(ratios)
    return (across, down) if do.enlarge else (min(1.0, across), min(1.0, down))


def _cover(do: op.Resize, image: pyvips.Image, scale: float, wanted: tuple[int, int]) -> pyvips.Image:
    width, height = wanted
    if not do.enlarge:
        width, height = min(width, image.width), min(height, image.height)
    size = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    waste = size[0] * size[1] / (width * height)
    if do.gravity == "smart" and waste <= _SMART_WASTE:
        return resample(image, *size, linear=do.linear).copy_memory().smartcrop(width, height, interesting="attention")
    left, top = offset_of(do.gravity, size, (width, height))
    if waste > _WASTE:
        return _cover_part(do, image, scale, (left, top, width, height))
    return resample(image, *size, linear=do.linear).crop(left, top, width, height)


def _cover_part(do: op.Resize, image: pyvips.Image, scale: float, box: tuple[int, int, int, int]) -> pyvips.Image:
    """Scale only what lies near the box: a 1 x 30,000 image would else become 100 x 3,000,000 first."""
    margin = math.ceil(_KERNEL_RADIUS * max(1.0, 1 / scale)) + 1
    left, width = _neighbourhood(box[0] / scale, box[2] / scale, margin, image.width)
    top, height = _neighbourhood(box[1] / scale, box[3] / scale, margin, image.height)
    across, down = max(0, round(box[0] - left * scale)), max(0, round(box[1] - top * scale))
    size = max(across + box[2], round(width * scale)), max(down + box[3], round(height * scale))
    part = image.crop(left, top, width, height)
    return resample(part, *size, linear=do.linear).crop(across, down, box[2], box[3])


def _neighbourhood(start: float, length: float, margin: int, end: int) -> tuple[int, int]:
    first = max(0, math.floor(start) - margin)
    return first, min(end, math.ceil(start + length) + margin) - first


def resample(image: pyvips.Image, width: int, height: int, *, linear: bool = False) -> pyvips.Image:
    """Scale to exactly width x height by Lanczos 3."""
    if (width, height) == (image.width, image.height):
        return image

    def scale(it: pyvips.Image) -> pyvips.Image:
        return premultiplied(it, lambda colours: colours.resize(width / it.width, vscale=height / it.height))

    return in_linear_light(image, scale) if linear else scale(image)


def average(image: pyvips.Image, side: int) -> pyvips.Image:
    """Scale down by a whole number: each pixel becomes the mean of a square of `side` px."""
    return image if side == 1 else premultiplied(image, lambda it: it.shrink(side, side, ceil=True))


def crop(do: op.Crop, image: pyvips.Image) -> pyvips.Image:
    left, top = min(do.left, image.width - 1), min(do.top, image.height - 1)
    return image.crop(left, top, min(do.width, image.width - left), min(do.height, image.height - top))


def crop_to_ratio(do: op.CropToRatio, image: pyvips.Image) -> pyvips.Image:
    scale = min(image.width / do.width, image.height / do.height)
    width, height = max(1, round(do.width * scale)), max(1, round(do.height * scale))
    if do.gravity == "smart":
        return image.smartcrop(width, height, interesting="attention")
    left, top = offset_of(do.gravity, (image.width, image.height), (width, height))
    return image.crop(left, top, width, height)


def pad(do: op.Pad, image: pyvips.Image) -> pyvips.Image:
    return _pad(image, (do.width, do.height), do.gravity, do.background)


def _pad(image: pyvips.Image, size: tuple[int, int], gravity: Gravity, background: Colour) -> pyvips.Image:
    width, height = max(size[0], image.width), max(size[1], image.height)
    left, top = offset_of(gravity, (width, height), (image.width, image.height))
    return _lay_on(image, (left, top, width, height), background)


def extend(do: op.Extend, image: pyvips.Image) -> pyvips.Image:
    size = image.width + do.left + do.right, image.height + do.top + do.bottom
    return _lay_on(image, (do.left, do.top, *size), do.background)


def trim(do: op.Trim, image: pyvips.Image) -> pyvips.Image:
    if min(image.width, image.height) < 3:
        return image  # find_trim looks through a 3 x 3 median
    corner = image.getpoint(0, 0)
    look = image
    if image.hasalpha():
        # Where the corner is transparent, it is opacity that tells the border from the rest, whatever the colours.
        opacity = image.bands - 1
        look, corner = (image[opacity], [0]) if corner[-1] == 0 else (image[:opacity], corner[:opacity])
    left, top, width, height = look.find_trim(threshold=do.threshold, background=corner)
    return image.crop(left, top, width, height) if width and height else image


def rotate(do: op.Rotate, image: pyvips.Image) -> pyvips.Image:
    if do.angle % 90 == 0:
        return image.rot(f"d{round(do.angle) % 360}")
    image, ink = opaque_or_not(image, do.background)
    if image.hasalpha():
        ink = [round(value * ink[-1] / 255) for value in ink[:-1]] + ink[-1:]
    smooth = pyvips.Interpolate.new("bicubic")
    return premultiplied(image, lambda it: it.rotate(do.angle, interpolate=smooth, background=ink))


def flip(_: op.Flip, image: pyvips.Image) -> pyvips.Image:
    return image.flipver()


def flop(_: op.Flop, image: pyvips.Image) -> pyvips.Image:
    return image.fliphor()


def _lay_on(image: pyvips.Image, box: tuple[int, int, int, int], background: Colour) -> pyvips.Image:
    """Put the image at left, top of a canvas of width x height."""
    if box == (0, 0, image.width, image.height):
        return image
    image, ink = opaque_or_not(image, background)
    return image.embed(*box, extend="background", background=ink)


def offset_of(gravity: Gravity, outer: tuple[int, int], inner: tuple[int, int]) -> tuple[int, int]:
    """Where the top left corner of the inner box lies in the outer one."""
    if isinstance(gravity, Focus):
        centre = (gravity.x * outer[0], gravity.y * outer[1])
        wanted = [round(at - size / 2) for at, size in zip(centre, inner, strict=True)]
        return max(0, min(wanted[0], outer[0] - inner[0])), max(0, min(wanted[1], outer[1] - inner[1]))
    across, down = _SHARES.get(gravity, _SHARES["centre"])
    return int((outer[0] - inner[0]) * across), int((outer[1] - inner[1]) * down)
