"""Our side of the benchmark: render() itself; what the box adds is measured apart."""

from functools import cache

from cells import QUALITY, measure

from shared_lib.limits import Limits
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.operations import Resize
from shared_lib.pipeline.recipe import Output, Recipe
from shared_lib.pipeline.render import render


@cache
def recipe(side: int, fit: str, to: str) -> Recipe:
    resize = Resize(width=side, height=side, fit=fit, enlarge=fit == "cover")
    return Recipe(name="x", operations=(resize,), output=Output(format=Format(to), quality=QUALITY[to]))


measure(lambda data, side, fit, to: render(data, [recipe(side, fit, to)], Limits()).renditions[0].data)
