"""Measure render() itself. sandbox.py measures the overhead of the sandbox."""

from functools import cache

from harness import QUALITY, measure

from shared_lib.limits import Limits
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.operations.resize import Resize
from shared_lib.pipeline.output import OutputOptions
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.render import render


@cache
def recipe(side: int, fit: str, to: str, quality: int) -> Recipe:
    resize = Resize(width=side, height=side, fit=fit, enlarge=fit == "cover")
    return Recipe(name="x", operations=(resize,), output=OutputOptions(format=Format(to), quality=quality))


def make(data: bytes, side: int, fit: str, to: str, quality: int | None = None) -> bytes:
    return render(data, [recipe(side, fit, to, quality or QUALITY[to])], Limits()).renditions[0].data


if __name__ == "__main__":
    measure(make)
