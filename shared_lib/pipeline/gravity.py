"""Gravity: the part of an image that is kept, or its place in a larger one."""

from dataclasses import dataclass
from typing import Literal

from shared_lib.pipeline.parameters import Share, StrictInput


@dataclass(frozen=True, kw_only=True)
class Focus(StrictInput):
    """A point to keep in view, as shares of width and height from the top left corner."""

    x: Share
    y: Share


Compass = Literal["center", "north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest"]
Gravity = Compass | Literal["smart"] | Focus
"""A compass point, a focus, or `smart`, which is where the eye is drawn."""

_SHARES = {"north": (0.5, 0.0), "east": (1.0, 0.5), "south": (0.5, 1.0), "west": (0.0, 0.5), "center": (0.5, 0.5)}
_SHARES |= {"northeast": (1.0, 0.0), "southeast": (1.0, 1.0), "southwest": (0.0, 1.0), "northwest": (0.0, 0.0)}


def find_offset(gravity: Gravity, outer: tuple[int, int], inner: tuple[int, int]) -> tuple[int, int]:
    """Return left and top of the inner size in the outer one, px. Smart gravity counts as center here."""
    if isinstance(gravity, Focus):
        center = (gravity.x * outer[0], gravity.y * outer[1])
        wanted = [round(at - size / 2) for at, size in zip(center, inner, strict=True)]
        return max(0, min(wanted[0], outer[0] - inner[0])), max(0, min(wanted[1], outer[1] - inner[1]))
    across, down = _SHARES.get(gravity, _SHARES["center"])
    return int((outer[0] - inner[0]) * across), int((outer[1] - inner[1]) * down)
