"""Decode the stored images that a recipe lays on another. They are as little trusted as the image itself."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from uuid import UUID

import pyvips

from shared_lib.errors import FailureCode, RecipeRejected, Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline.color import to_srgb
from shared_lib.pipeline.decode import cheapest_scale, decode, decoder_errors, inspect, is_only_untidy
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.resampling import resample
from shared_lib.pipeline.source import DecodePlan, Source


class Overlays:
    """The `operations.Context` of one recipe: its overlays, decoded when they are needed."""

    def __init__(self, recipe: Recipe, given: Mapping[UUID, bytes], below: Source, limits: Limits) -> None:
        """Read the headers of the images alone.

        Raises RecipeRejected: watermark_missing for one whose bytes are not given, too_many_pixels when they and the
        image below have too many together, and whatever `inspect` rejects one for.
        """
        self.orientation = below.orientation
        self._sources = {image: _inspect(image, given, limits) for image in recipe.overlays}
        self._made: dict[Hashable, pyvips.Image] = {}
        if self._sources:
            _enforce_pixels_together([below, *self._sources.values()], limits)

    def overlay_size(self, image: UUID) -> tuple[int, int]:
        return self._sources[image].upright_size

    def decode_overlay(self, image: UUID, size: tuple[int, int]) -> pyvips.Image:
        try:
            return _decode(self._sources[image], size)
        except Rejected as reason:
            raise _reject(image, reason) from reason

    def once(self, key: Hashable, make: Callable[[], pyvips.Image]) -> pyvips.Image:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def _inspect(image: UUID, given: Mapping[UUID, bytes], limits: Limits) -> Source:
    if image not in given:
        raise RecipeRejected(
            FailureCode.WATERMARK_MISSING,
            f"The watermark {image} is missing: there is no such image, or it is too large to be laid on another.",
        )
    try:
        return inspect(given[image], limits)
    except Rejected as reason:
        raise _reject(image, reason) from reason


def _reject(image: UUID, reason: Rejected) -> RecipeRejected:
    return RecipeRejected(reason.failure, f"The watermark {image} cannot be laid on. {reason.public}")


def _enforce_pixels_together(sources: list[Source], limits: Limits) -> None:
    pixels = sum(source.width * source.height for source in sources)
    limits.enforce("max_pixels", pixels, "The image and its watermarks have {} pixels together", RecipeRejected)


def _decode(source: Source, size: tuple[int, int]) -> pyvips.Image:
    with decoder_errors(source.format):
        try:
            return _at_size(source, size)
        except pyvips.Error as error:
            if not is_only_untidy(error):
                raise
            return _at_size(replace(source, is_untidy=True), size)


def _at_size(source: Source, size: tuple[int, int]) -> pyvips.Image:
    """Return the first frame, upright."""
    scales = [wanted / own for wanted, own in zip(size, source.upright_size, strict=True)]
    plan = DecodePlan(cheapest_scale(source, max(scales)), animated=False)
    return resample(to_srgb(decode(source, plan), source.colorimetry), *size).copy_memory()
