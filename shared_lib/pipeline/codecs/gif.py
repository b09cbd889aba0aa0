"""GIFs whose first frame does not fill the screen: libvips makes the rest black, browsers leave it transparent."""

from collections.abc import Mapping
from typing import NamedTuple

import pyvips

_MAX_BLOCKS = 200_000  # to search for the first frame
# A frame of one transparent pixel: a graphic control extension, and an image (GIF89a specification, 23 and 20).
_NOTHING = b"!\xf9\4\1\0\0\0\0" + b",\0\0\0\0\1\0\1\0\0" + b"\2\2\x44\1\0"


class Screen(NamedTuple):
    """The canvas of the frames."""

    width: int
    """In px. As in browsers, the screen is enlarged to fit the first frame."""
    height: int
    is_filled: bool
    """The first frame has exactly its size."""


def read_screen(data: bytes) -> Screen:
    claimed, frame = (_little(data[6:8]), _little(data[8:10])), _find_frame(data)
    left, top, width, height = frame or (0, 0, *claimed)
    size = max(claimed[0], left + width), max(claimed[1], top + height)
    return Screen(*size, is_filled=claimed == size == (width, height))


def decode_on_clear(screen: Screen, data: bytes, options: Mapping[str, object]) -> pyvips.Image:
    """Decode on a screen of its full size. A transparent frame is put before the others, so that all get alpha."""
    size = screen.width.to_bytes(2, "little") + screen.height.to_bytes(2, "little")
    start = _start(data)
    data = b"".join((b"GIF89a", size, data[10:start], _NOTHING, data[start:]))
    image = pyvips.Image.gifload_buffer(data, page=1, access="sequential", fail_on="error", **options)
    if image.get_typeof("delay"):
        image = image.copy()
        image.set_type(pyvips.GValue.array_int_type, "delay", image.get("delay")[1:])
    return image


def _start(data: bytes) -> int:
    """Return the offset of the first block: after the header, the screen descriptor and its colors."""
    flags = data[10] if len(data) > 10 else 0
    return 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)


def _find_frame(data: bytes) -> tuple[int, ...] | None:
    """Return left, top, width and height of the first frame, or None if there is none."""
    at, blocks = _start(data), 0
    while data[at : at + 1] == b"!" and blocks < _MAX_BLOCKS:
        at += 2
        while (size := _little(data[at : at + 1])) and blocks < _MAX_BLOCKS:
            at += 1 + size
            blocks += 1
        at += 1
    if data[at : at + 1] != b",":
        return None
    return tuple(_little(data[start : start + 2]) for start in range(at + 1, at + 9, 2))


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
