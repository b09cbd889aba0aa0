"""Pixels to encoded bytes, without any metadata."""

import pyvips

from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.recipe import Output

_KEPT = frozenset({Format.JPEG, Format.PNG, Format.WEBP})


def format_for(output: Output, source: Format, image: pyvips.Image) -> Format:
    """Choose the format: the source's own if every browser shows it, else JPEG, or PNG for what JPEG would spoil."""
    if output.format != "source":
        return output.format
    if source in _KEPT:
        return source
    # Drawings suffer in JPEG, and AVIF, TIFF and the rest need PNG for their transparency alone.
    return Format.PNG if source in (Format.GIF, Format.SVG) or image.hasalpha() else Format.JPEG


def encode(image: pyvips.Image, to: Format, output: Output) -> bytes:
    data: bytes
    if to is Format.JPEG:
        # Progressive: browsers show something sooner, and above 10 kB it is also smaller. Transparent parts turn white.
        data = image.jpegsave_buffer(
            Q=output.quality, optimize_coding=True, interlace=True, keep="none", background=255
        )
    elif to is Format.WEBP:
        data = image.webpsave_buffer(Q=output.quality, keep="none")
    else:
        data = image.pngsave_buffer(compression=6, keep="none")
    return data
