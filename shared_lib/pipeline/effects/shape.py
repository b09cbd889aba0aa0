"""Masks, backgrounds and frames."""

import pyvips

from shared_lib.pipeline import operations as op
from shared_lib.pipeline.effects import geometry
from shared_lib.pipeline.effects.channels import in_colour, rgba


def round_corners(do: op.RoundCorners, image: pyvips.Image) -> pyvips.Image:
    return _mask(image, f'<rect width="{image.width}" height="{image.height}" rx="{do.radius}"/>')


def circle(_: op.Circle, image: pyvips.Image) -> pyvips.Image:
    across, down = image.width / 2, image.height / 2
    return _mask(image, f'<ellipse cx="{across}" cy="{down}" rx="{across}" ry="{down}"/>')


def flatten(do: op.Flatten, image: pyvips.Image) -> pyvips.Image:
    if not image.hasalpha():
        return image
    ink = rgba(do.background)[:3]
    return (
        image.flatten(background=ink[:1])
        if image.bands < 3 and len(set(ink)) == 1
        else in_colour(image).flatten(background=ink)
    )


def border(do: op.Border, image: pyvips.Image) -> pyvips.Image:
    frame = op.Extend(top=do.width, right=do.width, bottom=do.width, left=do.width, background=do.colour)
    return geometry.extend(frame, image)


def _mask(image: pyvips.Image, drawn: str) -> pyvips.Image:
    """Leave visible what the shape covers, with smooth edges, as far as it was."""
    from shared_lib.pipeline.codecs.svg import rasterise  # noqa: PLC0415  a renderer that only a mask needs

    namespace = 'xmlns="http://www.w3.org/2000/svg"'
    size = f'width="{image.width}" height="{image.height}"'
    png = rasterise(f"<svg {namespace} {size}>{drawn}</svg>", image.width, image.height)
    cover = pyvips.Image.pngload_buffer(png)[3]
    if not image.hasalpha():
        return image.bandjoin(cover)
    last = image.bands - 1
    return image[:last].bandjoin((image[last] * cover / 255).cast("uchar"))
