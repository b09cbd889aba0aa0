"""The pixels that recipes start from: decoded as small as each allows, and shared by recipes with the same plan."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyvips

from shared_lib.errors import Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline.bounds import enforce_frames
from shared_lib.pipeline.decode import (
    cheapest_scale,
    decode,
    decoder_errors,
    is_only_untidy,
    raise_out_of_memory,
    whole_squares,
)
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.resampling import average
from shared_lib.pipeline.source import DecodePlan, Source

_SQUARE = 8  # px a side; averaged over less, SSIM falls below that of libvips' own resize, and little memory is saved
_HEADROOM = 2  # times the needed size, px, that a plain average leaves for the resampling that follows
_SHARED_MEMORY = 0.25  # of the limit, for pixels that several renditions are made from


class Pixels:
    """The decoded pixels of one source. A recipe's pixels do not depend on which other recipes there are."""

    def __init__(self, source: Source, recipes: Sequence[Recipe], limits: Limits) -> None:
        self.source = source
        self.limits = limits
        self._uses = Counter(map(self._plan_for, recipes))
        self._kept: dict[DecodePlan, pyvips.Image | None] = {}
        self._tried: set[DecodePlan] = set()

    def decode_for(self, recipe: Recipe) -> pyvips.Image:
        """Raises RecipeRejected for an animation that has too many frames to be kept."""
        plan = self._plan_for(recipe)
        if plan.animated:
            enforce_frames(self.source.frames, *self.source.upright_size, self.limits)
        image = self._kept.get(plan)
        if image is None:
            image = self._decode(plan)
            if self._uses[plan] > 1 and plan not in self._kept:
                self._kept[plan] = image = _in_memory(image, self.limits)
        return self._decode(plan) if image is None else image

    @contextmanager
    def attribute_errors(self) -> Iterator[None]:
        """Raise an error of the block as Rejected if the image is at fault, otherwise as it is.

        libvips decodes while it encodes, so an error alone does not tell which of them failed. Decoding once more does.
        """
        try:
            yield
        except (Rejected, MemoryError):
            raise
        except Exception as error:
            if isinstance(error, pyvips.Error) and is_only_untidy(error) and not self.source.is_untidy:
                raise  # a harmless warning
            raise_out_of_memory(error)
            with decoder_errors(self.source.format):
                for plan in tuple(self._tried):
                    self._decode(plan).avg()
            raise

    def _plan_for(self, recipe: Recipe) -> DecodePlan:
        first = recipe.operations[:1]
        needed = max((operation.needed_scale(self.source.upright_size) for operation in first), default=1.0)
        animated = recipe.output.animation == "keep" and self.source.frames > 1
        scale = cheapest_scale(self.source, needed)
        has_far_more = not animated and needed * _SQUARE * _HEADROOM <= scale
        return DecodePlan(scale, animated, _SQUARE if has_far_more else 1)

    def _decode(self, plan: DecodePlan) -> pyvips.Image:
        self._tried.add(plan)
        image = decode(self.source, plan)
        averaged = average(image, plan.square)
        width, height = (
            math.ceil(whole_squares(side, plan.square) / plan.square) for side in (image.width, image.height)
        )
        if (width, height) == (averaged.width, averaged.height):
            return averaged
        # Read all before leaving some out: whether damage there is seen must not depend on how far a thread has got.
        return averaged.copy_memory().crop(0, 0, width, height)


def _in_memory(image: pyvips.Image, limits: Limits) -> pyvips.Image | None:
    """Return all pixels, to be read several times, or None if they take so much that decoding again is better."""
    bytes_per_channel = 2 if image.format == "ushort" else 1
    size = image.width * image.height * image.bands * bytes_per_channel
    return image.copy_memory() if size < limits.memory_bytes * _SHARED_MEMORY else None
