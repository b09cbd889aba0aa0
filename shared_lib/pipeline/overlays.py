"""The other stored images that a recipe lays on its own: untrusted like it, and held against the same limits."""

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import pyvips

from shared_lib.errors import FailureCode, Rejected
from shared_lib.pipeline.bounds import Unfit
from shared_lib.pipeline.colour import to_srgb
from shared_lib.pipeline.decode import Source, Way, cheapest_scale, complaints_of, decode, inspect, is_only_untidy
from shared_lib.pipeline.limits import Limits
from shared_lib.pipeline.recipe import Recipe


class Overlays:
    """Those of one recipe, each decoded when it is first laid on, and once for all frames."""

    def __init__(self, recipe: Recipe, given: Mapping[UUID, bytes], below: Source, limits: Limits) -> None:
        """Read the headers alone.

        Raises Unfit: watermark_missing for one whose bytes are not given, too_many_pixels when they and the image
        below have too many together, and what `inspect` refuses one for.
        """
        self._sources = {image: _inspect(image, given, limits) for image in recipe.overlays}
        self._stamps: dict[tuple[UUID, int, int], pyvips.Image] = {}
        if self._sources:
            _bound_together([below, *self._sources.values()], limits)

    def size_of(self, image: UUID) -> tuple[int, int]:
        """Its own size upright, px."""
        return self._sources[image].upright_size

    def stamp(self, image: UUID, width: int, height: int) -> pyvips.Image:
        """All its pixels at this size: the first frame, upright, in sRGB or gray. Raises Unfit for corrupt data."""
        key = image, width, height
        if key not in self._stamps:
            try:
                self._stamps[key] = _decode(self._sources[image], width, height)
            except Rejected as reason:
                raise _refused(image, reason) from reason
        return self._stamps[key]


def _inspect(image: UUID, given: Mapping[UUID, bytes], limits: Limits) -> Source:
    if image not in given:
        raise Unfit(
            FailureCode.WATERMARK_MISSING,
            f"The watermark {image} is missing: there is no such image, or it is too large to be laid on another.",
        )
    try:
        return inspect(given[image], limits)
    except Rejected as reason:
        raise _refused(image, reason) from reason


def _refused(image: UUID, reason: Rejected) -> Unfit:
    return Unfit(reason.failure, f"The watermark {image} cannot be laid on. {reason.public}")


def _bound_together(sources: list[Source], limits: Limits) -> None:
    pixels = sum(source.width * source.height for source in sources)
    if pixels > limits.max_pixels:
        raise Unfit(
            FailureCode.TOO_MANY_PIXELS,
            f"The image and its watermarks have {pixels:,} pixels together; at most {limits.max_pixels:,} are allowed.",
        )


def _decode(source: Source, width: int, height: int) -> pyvips.Image:
    with complaints_of(source.format):
        try:
            return _scale(source, width, height)
        except pyvips.Error as error:
            if not is_only_untidy(error):
                raise
            return _scale(replace(source, is_untidy=True), width, height)


def _scale(source: Source, width: int, height: int) -> pyvips.Image:
    own_width, own_height = source.upright_size
    scale = cheapest_scale(source, max(width / own_width, height / own_height))
    image = to_srgb(decode(source, Way(scale, animated=False)))
    return image.thumbnail_image(width, height=height, size="force").copy_memory()
