"""Encoded bytes and recipes to renditions: the whole pipeline, in order. Runs only inside the box."""

from collections.abc import Sequence
from dataclasses import replace

import pyvips

from shared_lib.pipeline.colour import to_srgb
from shared_lib.pipeline.decode import Source, decode, failure, inspect, is_only_untidy
from shared_lib.pipeline.encode import encode, format_for
from shared_lib.pipeline.limits import Limits
from shared_lib.pipeline.operations import cover, scale_to_cover
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.rendition import Rendered, Rendition


def render(data: bytes, recipes: Sequence[Recipe], limits: Limits) -> Rendered:
    """Make all renditions of one image. Raises Rejected for bytes that are refused, MemoryError beyond the limit."""
    source = inspect(data, limits)
    width, height = source.upright_size
    try:
        renditions = _render_all(source, recipes)
    except pyvips.Error as error:
        if not is_only_untidy(error):
            raise failure(error, source.format) from error
        renditions = _render_all(replace(source, is_untidy=True), recipes)
    return Rendered(source.format, width, height, renditions)


def _render_all(source: Source, recipes: Sequence[Recipe]) -> tuple[Rendition, ...]:
    return tuple(_render_one(source, recipe) for recipe in recipes)


def _render_one(source: Source, recipe: Recipe) -> Rendition:
    scale = max(scale_to_cover(source.upright_size, resize) for resize in recipe.operations)
    image = decode(source, scale)
    if image.interpretation == "cmyk":
        image = to_srgb(image)  # four channels of ink: one of them would be taken for alpha
    for resize in recipe.operations:
        image = cover(image, resize)
    image = to_srgb(image)
    to = format_for(recipe.output, source.format, image)
    return Rendition(recipe.name, recipe.hash, to, image.width, image.height, encode(image, to, recipe.output))
