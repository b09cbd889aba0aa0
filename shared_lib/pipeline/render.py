"""The pipeline: encoded bytes and recipes to renditions. Runs only inside a sandbox worker.

`_render_one` and `_transform` are the order of steps for one recipe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import pyvips

from shared_lib.errors import RecipeRejected
from shared_lib.limits import Limits
from shared_lib.pipeline.animation import join, split
from shared_lib.pipeline.bounds import enforce_output_size, enforce_size
from shared_lib.pipeline.color import to_srgb
from shared_lib.pipeline.decode import inspect, is_only_untidy
from shared_lib.pipeline.encode import encode, format_for
from shared_lib.pipeline.metadata.extract import extract_metadata
from shared_lib.pipeline.operations import Operation
from shared_lib.pipeline.operations.resize import Resize
from shared_lib.pipeline.overlays import Overlays
from shared_lib.pipeline.pixels import Pixels
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.rendition import FailedRecipe, Rendered, Rendition
from shared_lib.pipeline.source import Source

# libvips remembers results, to share them between equal operations. Here it would only hold on to someone's pixels.
pyvips.cache_set_max(0)


def render(  # noqa: PLR0913  a job's fields, and the limits
    data: bytes,
    recipes: Sequence[Recipe],
    limits: Limits,
    overlays: Mapping[UUID, bytes] | None = None,
    *,
    with_metadata: bool = False,
    with_location: bool = False,
) -> Rendered:
    """Make all renditions of one image.

    A recipe fails alone if its rendition would exceed a limit or its watermark is missing. With `with_location`,
    renditions that keep metadata also keep the GPS position. Raises Rejected for bytes that cannot be read, MemoryError
    beyond the limit, and any other error for a bug of ours.
    """
    source = inspect(data, limits)
    try:
        return _render(
            source, recipes, limits, overlays or {}, with_metadata=with_metadata, with_location=with_location
        )
    except pyvips.Error as error:
        if not is_only_untidy(error):
            raise
        source = replace(source, is_untidy=True)
        return _render(
            source, recipes, limits, overlays or {}, with_metadata=with_metadata, with_location=with_location
        )


def _render(  # noqa: PLR0913  (same)
    source: Source,
    recipes: Sequence[Recipe],
    limits: Limits,
    overlays: Mapping[UUID, bytes],
    *,
    with_metadata: bool,
    with_location: bool,
) -> Rendered:
    pixels = Pixels(source, [*recipes, *([THUMBNAIL] if with_metadata else [])], limits)
    with pixels.attribute_errors():
        renditions, failed = _render_all(pixels, recipes, overlays, with_location=with_location)
        # From a thumbnail's pixels, because one is nearly always made.
        metadata = extract_metadata(source, pixels.decode_for(THUMBNAIL)) if with_metadata else None
    return Rendered(source.format, *source.upright_size, tuple(renditions), tuple(failed), metadata)


def _render_all(
    pixels: Pixels, recipes: Sequence[Recipe], overlays: Mapping[UUID, bytes], *, with_location: bool
) -> tuple[list[Rendition], list[FailedRecipe]]:
    renditions: list[Rendition] = []
    failed: list[FailedRecipe] = []
    for recipe in recipes:
        try:
            rendition = _render_one(pixels, recipe, overlays, with_location=with_location)
            size = sum(len(each.data) for each in (*renditions, rendition))
            pixels.limits.enforce_output(size, RecipeRejected)
        except RecipeRejected as reason:
            failed.append(FailedRecipe(recipe, reason))
        else:
            renditions.append(rendition)
    return renditions, failed


def _render_one(pixels: Pixels, recipe: Recipe, overlays: Mapping[UUID, bytes], *, with_location: bool) -> Rendition:
    context = Overlays(recipe, overlays, pixels.source, pixels.limits)
    frames = split(pixels.decode_for(recipe))
    frames = [_transform(frame, pixels, recipe, context) for frame in frames]
    width, height = frames[0].width, frames[0].height
    enforce_output_size(width, height, len(frames), pixels.limits)
    image = join(frames)
    to = format_for(recipe.output, pixels.source.format, image)
    data = encode(image, to, recipe.output, with_location=with_location)
    return Rendition(recipe, to, width, height, data)


def _transform(frame: pyvips.Image, pixels: Pixels, recipe: Recipe, context: Overlays) -> pyvips.Image:
    """Convert the colors to sRGB and apply all operations, the first of them before where that is cheaper."""
    early, late = _split_at_conversion(frame, pixels.source, recipe.operations)
    original = pixels.source.upright_size
    frame = _apply(early, frame, original, context, pixels.limits)
    frame = to_srgb(frame, pixels.source.colorimetry, keep_profile=recipe.output.profile == "keep")
    if late:
        frame = frame.copy_memory()  # decoders read in order, and only once; operations do not
    size = (frame.width, frame.height) if early else original
    return _apply(late, frame, size, context, pixels.limits)


def _split_at_conversion(
    frame: pyvips.Image, source: Source, operations: tuple[Operation, ...]
) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
    """Return the operations before and after the conversion to sRGB.

    A first resize comes before it, which leaves fewer pixels to convert, but not where it needs sRGB: CMYK would be
    taken for RGB with alpha, and linear light is computed from sRGB.
    """
    if not operations or not isinstance(first := operations[0], Resize):
        return (), operations
    is_srgb = source.colorimetry is None and not frame.get_typeof("icc-profile-data")
    if frame.interpretation == "cmyk" or (first.linear and not is_srgb):
        return (), operations
    return operations[:1], operations[1:]


def _apply(
    operations: Sequence[Operation], image: pyvips.Image, original: tuple[int, int], context: Overlays, limits: Limits
) -> pyvips.Image:
    """Apply operations. Of the original's size, px, the image may have fewer pixels, if the first one scales."""
    for index, operation in enumerate(operations):
        if index == 0 and isinstance(operation, Resize):
            image = operation.scale(image, original)
        else:
            image = operation.apply(image, context)
        # libvips has computed nothing yet.
        enforce_size(image.width, image.height, limits, f"The image after {operation.kind}", error=RecipeRejected)
    return image
