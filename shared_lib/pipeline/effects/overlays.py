"""What a recipe lays on its image: text, and other stored images, which are as little trusted as the image itself."""

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import pyvips

from shared_lib.errors import FailureCode, Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline import operations as op
from shared_lib.pipeline.bounds import RecipeRejected
from shared_lib.pipeline.color import to_srgb
from shared_lib.pipeline.decode import cheapest_scale, complaints_of, decode, inspect, is_only_untidy
from shared_lib.pipeline.effects import text
from shared_lib.pipeline.effects.geometry import resample
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.source import Source, Way

_Stamped = tuple[op.Watermark | op.TextWatermark, int, tuple[int, int]]


class Overlays:
    """Those of one recipe: each made when it is first laid on, and once for all frames of one size."""

    def __init__(self, recipe: Recipe, given: Mapping[UUID, bytes], below: Source, limits: Limits) -> None:
        """Read the headers of the images alone.

        Raises RecipeRejected: watermark_missing for one whose bytes are not given, too_many_pixels when they and the
        image below have too many together, and what `inspect` refuses one for.
        """
        self._sources = {image: _inspect(image, given, limits) for image in recipe.overlays}
        self._stamps: dict[_Stamped, pyvips.Image] = {}
        if self._sources:
            _bound_together([below, *self._sources.values()], limits)

    def stamp(self, do: op.Watermark | op.TextWatermark, width: int, room: tuple[int, int]) -> pyvips.Image:
        """All pixels of what is laid on an image of this width, px, where it has so much room for it.

        In sRGB or gray, 8 bits a channel, with or without alpha. Raises RecipeRejected for corrupt data.
        """
        key = do, width, room
        if key not in self._stamps:
            make = self._draw(do, width, room) if isinstance(do, op.Watermark) else text.write(do, room)
            self._stamps[key] = make
        return self._stamps[key]

    def _draw(self, do: op.Watermark, width: int, room: tuple[int, int]) -> pyvips.Image:
        source = self._sources[do.image]
        own_width, own_height = source.upright_size
        wanted = 1.0 if do.scale is None else do.scale * width / own_width
        scale = min(wanted, room[0] / own_width, room[1] / own_height)
        size = max(1, round(own_width * scale)), max(1, round(own_height * scale))
        try:
            return _decode(source, size)
        except Rejected as reason:
            raise _refused(do.image, reason) from reason


def _inspect(image: UUID, given: Mapping[UUID, bytes], limits: Limits) -> Source:
    if image not in given:
        raise RecipeRejected(
            FailureCode.WATERMARK_MISSING,
            f"The watermark {image} is missing: there is no such image, or it is too large to be laid on another.",
        )
    try:
        return inspect(given[image], limits)
    except Rejected as reason:
        raise _refused(image, reason) from reason


def _refused(image: UUID, reason: Rejected) -> RecipeRejected:
    return RecipeRejected(reason.failure, f"The watermark {image} cannot be laid on. {reason.public}")


def _bound_together(sources: list[Source], limits: Limits) -> None:
    pixels = sum(source.width * source.height for source in sources)
    limits.enforce("max_pixels", pixels, "The image and its watermarks have {} pixels together", RecipeRejected)


def _decode(source: Source, size: tuple[int, int]) -> pyvips.Image:
    with complaints_of(source.format):
        try:
            return _at_size(source, size)
        except pyvips.Error as error:
            if not is_only_untidy(error):
                raise
            return _at_size(replace(source, is_untidy=True), size)


def _at_size(source: Source, size: tuple[int, int]) -> pyvips.Image:
    """The first frame, upright."""
    scales = [wanted / own for wanted, own in zip(size, source.upright_size, strict=True)]
    way = Way(cheapest_scale(source, max(scales)), animated=False)
    return resample(to_srgb(decode(source, way), source.meant), *size).copy_memory()
