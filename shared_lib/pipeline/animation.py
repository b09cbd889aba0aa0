"""Frames, which libvips keeps one below the other in a single tall image."""

from collections.abc import Sequence

import pyvips


def count_frames(header: pyvips.Image) -> int:
    return header.get("n-pages") if header.get_typeof("n-pages") else 1


def is_animated(image: pyvips.Image) -> bool:
    """Tell whether there are several frames in these pixels, and not only in the file they came from."""
    return bool(image.get_typeof("page-height")) and image.get("page-height") < image.height


def split(image: pyvips.Image) -> list[pyvips.Image]:
    """Cut into frames. A still image is one."""
    if not is_animated(image):
        return [image]
    height = image.get("page-height")
    tall = image.copy_memory()  # decoders read in order; frames are worked on one by one
    return [tall.crop(0, top, tall.width, height) for top in range(0, tall.height, height)]


def join(frames: Sequence[pyvips.Image]) -> pyvips.Image:
    """Put frames of one size together again; how long each is shown, and how often, is still written on the first."""
    if len(frames) == 1:
        return frames[0]
    tall = pyvips.Image.arrayjoin(list(frames), across=1)
    tall.set_type(pyvips.GValue.gint_type, "page-height", frames[0].height)
    return tall
