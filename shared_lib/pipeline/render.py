"""Encoded bytes and recipes to renditions: the whole pipeline, in order. Runs only inside the box."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pyvips

from shared_lib.pipeline.animation import join, split
from shared_lib.pipeline.bounds import bound, bound_bytes, bound_frames, bound_output
from shared_lib.pipeline.colour import to_srgb
from shared_lib.pipeline.decode import Source, Way, cheapest_scale, complaints_of, decode, inspect, is_only_untidy
from shared_lib.pipeline.effects import apply
from shared_lib.pipeline.effects.geometry import needed_scale
from shared_lib.pipeline.encode import encode, format_for
from shared_lib.pipeline.limits import Limits
from shared_lib.pipeline.operations import Operation, Resize
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.rendition import Rendered, Rendition

_SHARE = 0.25  # of the memory, for pixels that several renditions are made from

# libvips remembers results, to share them between equal operations; here it would only hold on to someone's pixels.
pyvips.cache_set_max(0)


def render(data: bytes, recipes: Sequence[Recipe], limits: Limits) -> Rendered:
    """Make all renditions of one image. Raises Rejected for bytes that are refused, MemoryError beyond the limit."""
    source = inspect(data, limits)
    width, height = source.upright_size
    with complaints_of(source.format):
        try:
            renditions = _render_all(source, recipes, limits)
        except pyvips.Error as error:
            if not is_only_untidy(error):
                raise
            renditions = _render_all(replace(source, is_untidy=True), recipes, limits)
    bound_bytes(sum(len(rendition.data) for rendition in renditions), limits)
    return Rendered(source.format, width, height, renditions)


def _render_all(source: Source, recipes: Sequence[Recipe], limits: Limits) -> tuple[Rendition, ...]:
    """Decode once for all recipes that need the same pixels: none depends on what else is asked for."""
    ways = [_way_to_decode(source, recipe, limits) for recipe in recipes]
    shared = {way: _decode_to_memory(source, way, limits) for way, uses in Counter(ways).items() if uses > 1}
    renditions = []
    for way, recipe in zip(ways, recipes, strict=True):
        image = shared.get(way)
        renditions.append(_render_one(source, decode(source, way) if image is None else image, recipe, limits))
    return tuple(renditions)


def _way_to_decode(source: Source, recipe: Recipe, limits: Limits) -> Way:
    first = recipe.operations[:1]
    needed = max((needed_scale(operation, source.upright_size) for operation in first), default=1.0)
    is_animated = recipe.output.animation == "keep" and source.frames > 1
    if is_animated:
        bound_frames(source.frames, *source.upright_size, limits)
    return Way(cheapest_scale(source, needed), is_animated)


def _decode_to_memory(source: Source, way: Way, limits: Limits) -> pyvips.Image | None:
    """All pixels, to be read several times; None if they take so much that decoding again is the lesser evil."""
    image = decode(source, way)
    bytes_per_channel = 2 if image.format == "ushort" else 1
    size = image.width * image.height * image.bands * bytes_per_channel
    return image.copy_memory() if size < limits.memory_bytes * _SHARE else None


def _render_one(source: Source, image: pyvips.Image, recipe: Recipe, limits: Limits) -> Rendition:
    frames = [_transform(frame, recipe, limits) for frame in split(image)]
    width, height = frames[0].width, frames[0].height
    bound_output(width, height * len(frames), limits)
    image = join(frames)
    to = format_for(recipe.output, source.format, image)
    return Rendition(recipe.name, recipe.hash, to, width, height, encode(image, to, recipe.output))


def _transform(image: pyvips.Image, recipe: Recipe, limits: Limits) -> pyvips.Image:
    """Carry out all operations, with colours converted to sRGB where that is cheapest."""
    operations = recipe.operations
    if operations and isinstance(operations[0], Resize) and not _cannot_wait(image, operations[0]):
        # Fewer pixels to convert after the first resize.
        image, operations = _apply(operations[0], image, limits), operations[1:]
    image = to_srgb(image, keep_profile=recipe.output.profile == "keep")
    if operations:
        image = image.copy_memory()  # decoders read in order, and only once; effects do not
    for operation in operations:
        image = _apply(operation, image, limits)
    return image


def _cannot_wait(image: pyvips.Image, first: Resize) -> bool:
    """Tell whether colours must be converted before the first resize.

    One of CMYK's four would be taken for alpha, and it is sRGB that linear light is computed from.
    """
    return image.interpretation == "cmyk" or (first.linear and bool(image.get_typeof("icc-profile-data")))


def _apply(operation: Operation, image: pyvips.Image, limits: Limits) -> pyvips.Image:
    image = apply(operation, image)
    bound(image.width, image.height, limits)  # nothing is computed before it is asked for
    return image
