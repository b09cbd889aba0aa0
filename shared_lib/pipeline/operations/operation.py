"""The base of all operations. A subclass is registered by being defined."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from shared_lib.constraints import Handler, Schema
from shared_lib.pipeline.parameters import StrictInput
from shared_lib.pipeline.vips import Image

OPERATIONS: "dict[str, type[Operation]]" = {}
"""All operations by their kind."""


class Context(Protocol):
    """The help that an operation may use. It belongs to one recipe, and to all frames of an animation."""

    @property
    def orientation(self) -> int:
        """EXIF's number, 1 to 8, by which the image was made upright."""

    def overlay_size(self, image: UUID) -> tuple[int, int]:
        """Return width and height, px, of another stored image."""

    def decode_overlay(self, image: UUID, size: tuple[int, int]) -> Image:
        """Decode the first frame of another stored image, and scale it to a size, px. Raises RecipeRejected."""

    def once(self, key: Hashable, make: Callable[[], Image]) -> Image:
        """Return what `make` returned when it was first called for this key."""


@dataclass(frozen=True, kw_only=True)
class Operation(StrictInput, ABC):
    """One step of a recipe: its parameters with their limits, and its effect.

    A subclass is a frozen dataclass whose `kind` has a default, by which JSON names it.
    """

    kind: str

    @abstractmethod
    def apply(self, image: Image, context: Context, /) -> Image:
        """Return the changed image. Both are in sRGB or gray, 8 bits a channel, with or without alpha."""

    def needed_scale(self, size: tuple[int, int], /) -> float:  # noqa: ARG002  others depend on it
        """Return the scale at which an image of this size, px, must be decoded at least for nothing to be lost."""
        return 1.0

    @property
    def overlays(self) -> tuple[UUID, ...]:
        """The other stored images that it needs."""
        return ()

    @property
    def depends_on_content(self) -> bool:
        """Tell whether the result's size or position depends on pixels, and so may differ from frame to frame."""
        return False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if kind := vars(cls).get("kind"):  # a base of others has none
            OPERATIONS[kind] = cls

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Handler) -> Schema:
        if cls is not Operation:
            return super().__get_pydantic_core_schema__(source, handler)
        choices = {kind: handler.generate_schema(OPERATIONS[kind]) for kind in sorted(OPERATIONS)}
        return {"type": "tagged-union", "discriminator": "kind", "choices": choices}
