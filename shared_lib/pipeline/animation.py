"""Split and join animations, whose frames libvips keeps one below the other in a single tall image."""

from collections.abc import Sequence

import pyvips


def count_frames(header: pyvips.Image) -> int:
    return header.get("n-pages") if header.get_typeof("n-pages") else 1


def is_animated(image: pyvips.Image) -> bool:
    """Return True if these pixels have several frames, and not only the file they came from."""
    return bool(image.get_typeof("page-height")) and image.get("page-height") < image.height


def split(image: pyvips.Image) -> list[pyvips.Image]:
    """Cut into frames. A still image is one frame."""
    if not is_animated(image):
        return [image]
    height = image.get("page-height")
    tall = image.copy_memory()  # decoders read in order; frames are transformed one by one
    return [tall.crop(0, top, tall.width, height) for top in range(0, tall.height, height)]


def join(frames: Sequence[pyvips.Image]) -> pyvips.Image:
    """Join frames of one size. The first still carries the delays and the loop count."""
    if len(frames) == 1:
        return frames[0]
    tall = pyvips.Image.arrayjoin(list(frames), across=1)
    tall.set_type(pyvips.GValue.gint_type, "page-height", frames[0].height)
    return tall
