"""Frames, which libvips keeps one below the other in a single tall image."""

from collections.abc import Sequence

import pyvips


def count_frames(header: pyvips.Image) -> int:
    return header.get("n-pages") if header.get_typeof("n-pages") else 1


def split(image: pyvips.Image) -> list[pyvips.Image]:
    """Cut into frames. A still image is one."""
    height = image.get("page-height") if image.get_typeof("page-height") else image.height
    if height == image.height:
        return [image]
    tall = image.copy_memory()  # decoders read in order; frames are worked on one by one
    return [tall.crop(0, top, tall.width, height) for top in range(0, tall.height, height)]


def join(frames: Sequence[pyvips.Image]) -> pyvips.Image:
    """Put frames of one size together again; how long each is shown, and how often, is still written on the first."""
    if len(frames) == 1:
        return frames[0]
    tall = pyvips.Image.arrayjoin(list(frames), across=1)
    tall.set_type(pyvips.GValue.gint_type, "page-height", frames[0].height)
    return tall
