"""Measure thumbor: its Pillow engine, called like its transformer does."""

from harness import QUALITY, measure
from thumbor.config import Config
from thumbor.context import Context, RequestParameters
from thumbor.engines.pil import Engine

EXTENSIONS = {"jpeg": ".jpg", "webp": ".webp"}
context = Context(config=Config())
context.request = RequestParameters()


def render(data: bytes, side: int, fit: str, to: str) -> bytes:
    engine = Engine(context)
    engine.load(data, None)
    width, height = engine.size
    scale = (max if fit == "cover" else min)(side / width, side / height)
    if fit == "inside":
        scale = min(1, scale)
    engine.resize(round(width * scale), round(height * scale))
    if fit == "cover":
        width, height = engine.size
        left, top = (width - side) // 2, (height - side) // 2
        engine.crop(left, top, left + side, top + side)
    return engine.read(EXTENSIONS[to], QUALITY[to])


measure(render)
