"""Measure the lower bound of each case: only decode at the nearest scale and encode the finished rendition.

It decodes with the same libraries as the pipeline, at the smallest scale that is not below the rendition's, and encodes
with the pipeline's encoder.
"""

import io
import math

import pyvips
from harness import QUALITY, measure
from PIL import AvifImagePlugin, Image

from shared_lib.pipeline.encode import encode
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.output import OutputOptions

AvifImagePlugin.DEFAULT_MAX_THREADS = 1
pyvips.cache_set_max(0)
finished: dict[tuple[int, str], pyvips.Image] = {}


def decode(data: bytes, scale: float) -> None:
    image = pyvips.Image.new_from_buffer(data, "", access="sequential")
    loader = image.get("vips-loader")
    if loader.startswith("heif"):
        Image.open(io.BytesIO(data)).load()
        return
    if loader.startswith("jpeg"):
        image = pyvips.Image.jpegload_buffer(
            data, access="sequential", shrink=2 ** min(3, max(0, math.floor(-math.log2(scale))))
        )
    elif loader.startswith("webp"):
        image = pyvips.Image.webpload_buffer(data, access="sequential", scale=min(1, scale))
    image.write_to_memory()


def render(data: bytes, side: int, fit: str, to: str) -> bytes:
    if (side, fit) not in finished:
        options = {"crop": "centre"} if fit == "cover" else {"size": "down"}
        finished[side, fit] = pyvips.Image.thumbnail_buffer(data, side, height=side, **options).copy_memory()
    image = finished[side, fit]
    header = pyvips.Image.new_from_buffer(data, "", access="sequential")
    decode(data, (max if fit == "cover" else min)(side / header.width, side / header.height))
    return encode(image, Format(to), OutputOptions(quality=QUALITY[to]))


measure(render)
