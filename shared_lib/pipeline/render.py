"""Encoded bytes and recipes to renditions: the whole pipeline, in order. Runs only inside the box."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

import pyvips

from shared_lib.errors import Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline.animation import join, split
from shared_lib.pipeline.bounds import RecipeRejected, bound, bound_frames, bound_output
from shared_lib.pipeline.color import to_srgb
from shared_lib.pipeline.decode import (
    cheapest_scale,
    complaints_of,
    decode,
    inspect,
    is_only_untidy,
    raise_out_of_memory,
    whole_squares,
)
from shared_lib.pipeline.encode import encode, format_for
from shared_lib.pipeline.metadata.extract import learn_from
from shared_lib.pipeline.metadata.model import Knowledge
from shared_lib.pipeline.operations import Operation
from shared_lib.pipeline.operations.resize import Resize
from shared_lib.pipeline.overlays import Overlays
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.rendition import FailedRecipe, Rendered, Rendition
from shared_lib.pipeline.resampling import average
from shared_lib.pipeline.source import Source, Way

_SQUARE = 8  # px a side; averaged over less, SSIM falls below that of libvips' own resize, and little memory is saved
_ROOM = 2  # times the needed size, px; what a plain average leaves for the resampling that follows
_SHARE = 0.25  # of the memory, for pixels that several renditions are made from

# libvips remembers results, to share them between equal operations; here it would only hold on to someone's pixels.
pyvips.cache_set_max(0)


def render(  # noqa: PLR0913  what a task holds, and the limits
    data: bytes,
    recipes: Sequence[Recipe],
    limits: Limits,
    overlays: Mapping[UUID, bytes] | None = None,
    *,
    learn: bool = False,
    location: bool = False,
) -> Rendered:
    """Make all renditions of one image; a recipe that asks too much, or lays on what is not there, is refused alone.

    With `location`, renditions that keep metadata keep where it was taken. Raises Rejected for bytes that are refused,
    MemoryError beyond the limit, and anything else for a mistake of ours.
    """
    source = inspect(data, limits)
    wanted = [*recipes, *([THUMBNAIL] if learn else [])]

    def carry_out(source: Source) -> tuple[list[Rendition | FailedRecipe], Knowledge | None]:
        pixels = _Pixels(source, wanted, limits)
        with pixels.blamed():
            outcomes = _render_all(pixels, recipes, limits, overlays or {}, location=location)
            # From the pixels that a thumbnail is made from, because one nearly always is.
            return outcomes, learn_from(source, pixels.decode_for(THUMBNAIL)) if learn else None

    try:
        outcomes, knowledge = carry_out(source)
    except pyvips.Error as error:
        if not is_only_untidy(error):
            raise
        outcomes, knowledge = carry_out(replace(source, is_untidy=True))
    renditions = tuple(each for each in outcomes if isinstance(each, Rendition))
    refused = tuple(each for each in outcomes if isinstance(each, FailedRecipe))
    return Rendered(source.format, *source.upright_size, renditions, refused, knowledge)


class _Pixels:
    """Pixels of a source, decoded once for all recipes that need the same: none depends on what else is asked for."""

    def __init__(self, source: Source, recipes: Sequence[Recipe], limits: Limits) -> None:
        self.source = source
        self.limits = limits
        self._uses = Counter(map(self._way_for, recipes))
        self._kept: dict[tuple[Way, int], pyvips.Image | None] = {}
        self._tried: set[tuple[Way, int]] = set()

    def decode_for(self, recipe: Recipe) -> pyvips.Image:
        """Raises RecipeRejected for an animation that has too many frames to be kept."""
        way = self._way_for(recipe)
        if way[0].animated:
            bound_frames(self.source.frames, *self.source.upright_size, self.limits)
        image = self._kept.get(way)
        if image is None:
            image = self._decode(*way)
            if self._uses[way] > 1 and way not in self._kept:
                self._kept[way] = image = _in_memory(image, self.limits)
        return self._decode(*way) if image is None else image

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Raise what went wrong in the block as Rejected if it is the image's fault, and else as it is.

        libvips decodes while it encodes, so what fails does not tell whose fault it is. Decoding alone does, once more.
        """
        try:
            yield
        except (Rejected, MemoryError):
            raise
        except Exception as error:
            if isinstance(error, pyvips.Error) and is_only_untidy(error) and not self.source.is_untidy:
                raise  # which is no fault
            raise_out_of_memory(error)
            with complaints_of(self.source.format):
                for way in tuple(self._tried):
                    self._decode(*way).avg()
            raise

    def _way_for(self, recipe: Recipe) -> tuple[Way, int]:
        """How to decode, and over squares of how many px to average then what has still far more than is needed."""
        first = recipe.operations[:1]
        needed = max((operation.needed_scale(self.source.upright_size) for operation in first), default=1.0)
        animated = recipe.output.animation == "keep" and self.source.frames > 1
        way = Way(cheapest_scale(self.source, needed), animated)
        return way, _SQUARE if not animated and needed * _SQUARE * _ROOM <= way.scale else 1

    def _decode(self, way: Way, side: int) -> pyvips.Image:
        self._tried.add((way, side))
        image = decode(self.source, way)
        averaged = average(image, side)
        width, height = (math.ceil(whole_squares(length, side) / side) for length in (image.width, image.height))
        if (width, height) == (averaged.width, averaged.height):
            return averaged
        # All is read before some is left out: whether damage there is seen must not depend on how far a thread has got.
        return averaged.copy_memory().crop(0, 0, width, height)


def _render_all(
    pixels: _Pixels, recipes: Sequence[Recipe], limits: Limits, given: Mapping[UUID, bytes], *, location: bool
) -> list[Rendition | FailedRecipe]:
    outcomes: list[Rendition | FailedRecipe] = []
    together = 0
    for recipe in recipes:
        try:
            overlays = Overlays(recipe, given, pixels.source, limits)
            made = _render_one(pixels, recipe, overlays, location=location)
            limits.enforce_output(together + len(made.data), RecipeRejected)
            together += len(made.data)
        except RecipeRejected as reason:
            outcomes.append(FailedRecipe(recipe, reason))
        else:
            outcomes.append(made)
    return outcomes


def _in_memory(image: pyvips.Image, limits: Limits) -> pyvips.Image | None:
    """All pixels, to be read several times; None if they take so much that decoding again is the lesser evil."""
    bytes_per_channel = 2 if image.format == "ushort" else 1
    size = image.width * image.height * image.bands * bytes_per_channel
    return image.copy_memory() if size < limits.memory_bytes * _SHARE else None


def _render_one(pixels: _Pixels, recipe: Recipe, overlays: Overlays, *, location: bool) -> Rendition:
    image, limits = pixels.decode_for(recipe), pixels.limits
    frames = [_transform(frame, pixels.source, recipe, limits, overlays) for frame in split(image)]
    width, height = frames[0].width, frames[0].height
    bound_output(width, height, len(frames), limits)
    image = join(frames)
    to = format_for(recipe.output, pixels.source.format, image)
    return Rendition(recipe, to, width, height, encode(image, to, recipe.output, location=location))


def _transform(image: pyvips.Image, source: Source, recipe: Recipe, limits: Limits, overlays: Overlays) -> pyvips.Image:
    """Carry out all operations, with colors converted to sRGB where that is cheapest."""
    operations = recipe.operations
    if operations and isinstance(operations[0], Resize) and not _cannot_wait(image, source, operations[0]):
        # Fewer pixels to convert after the first resize.
        image, operations = _apply(operations[0], image, limits, overlays), operations[1:]
    image = to_srgb(image, source.meant, keep_profile=recipe.output.profile == "keep")
    if operations:
        image = image.copy_memory()  # decoders read in order, and only once; effects do not
    for operation in operations:
        image = _apply(operation, image, limits, overlays)
    return image


def _cannot_wait(image: pyvips.Image, source: Source, first: Resize) -> bool:
    """Tell whether colors must be converted before the first resize.

    One of CMYK's four would be taken for alpha, and it is sRGB that linear light is computed from.
    """
    return image.interpretation == "cmyk" or (
        first.linear and (source.meant is not None or bool(image.get_typeof("icc-profile-data")))
    )


def _apply(operation: Operation, image: pyvips.Image, limits: Limits, overlays: Overlays) -> pyvips.Image:
    image = operation.apply(image, overlays)
    # Nothing is computed before it is asked for.
    bound(image.width, image.height, limits, f"The image after {operation.kind}", refusal=RecipeRejected)
    return image
