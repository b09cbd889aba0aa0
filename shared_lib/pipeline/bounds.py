"""Enforce limits on an image or a rendition before anything of its size is decoded or made."""

import mmap

import pyvips

from shared_lib.errors import RecipeRejected, Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline.metadata.fields import list_fields, measure_field

_BITS = {"uchar": 8, "char": 8, "ushort": 16, "short": 16, "uint": 32, "int": 32, "float": 32}  # libvips has 64 beyond
_METADATA = (b"exif-data", b"xmp-data", b"iptc-data", b"icc-profile-data", b"photoshop-data", b"image-description")
_COMMENTS = (b"png-comment-", b"gif-comment", b"jpeg-comment")


def enforce_size(
    width: int, height: int, limits: Limits, what: str = "The image", *, error: type[Rejected] = Rejected
) -> None:
    """Raise the error if an image of this size, px, may not be decoded, or made on the way to a rendition."""
    limits.enforce("max_side", *_longer(width, height, f"{what} is"), error)
    limits.enforce("max_pixels", width * height, f"{what} has {width:,} x {height:,} = {{}} pixels", error)


def enforce_header(header: pyvips.Image, limits: Limits) -> None:
    """Raise Rejected if a pixel has too many channels or bits, or the file too much metadata."""
    limits.enforce("max_channels", header.bands, "The image has {} channels")
    limits.enforce("max_bits", _BITS.get(header.format, 64), "The image has {} bits a channel")
    fields = [name for name in list_fields(header) if name in _METADATA or name.startswith(_COMMENTS)]
    enforce_metadata_size(sum(measure_field(header, name) for name in fields), limits)


def enforce_metadata_size(size: int, limits: Limits) -> None:
    """Raise Rejected for too many bytes of metadata."""
    limits.enforce("max_metadata_bytes", size, "The image carries {} bytes of metadata")


def enforce_frames(frames: int, width: int, height: int, limits: Limits) -> None:
    """Raise RecipeRejected if an animation of so many frames of this size, px, may not be decoded."""
    fact = f"The animation has {frames:,} x {width:,} x {height:,} = {{}} pixels in all frames"
    limits.enforce("max_frames", frames, "The animation has {} frames", RecipeRejected)
    limits.enforce("max_animation_pixels", frames * width * height, fact, RecipeRejected)


def enforce_output_size(width: int, height: int, frames: int, limits: Limits) -> None:
    """Raise RecipeRejected if a rendition of this size, px, and so many frames may not be made."""
    size = f"{width:,} x {height:,}" + (f" x {frames:,} frames" if frames > 1 else "")
    limits.enforce("max_output_side", *_longer(width, height, "The rendition would be"), RecipeRejected)
    limits.enforce(
        "max_output_pixels", width * height * frames, f"The rendition would have {size} = {{}} pixels", RecipeRejected
    )


def require_memory(size: int) -> None:
    """Raise OSError if so many bytes cannot be allocated. For libraries that call a lack of memory a corrupt image.

    Errs towards "out of memory" for a corrupt image rather than "corrupt" for a valid one.
    """
    mmap.mmap(-1, size).close()


def _longer(width: int, height: int, begin: str) -> tuple[int, str]:
    """Return the longer side, and the sentence about it."""
    return (width, f"{begin} {{}} px wide") if width >= height else (height, f"{begin} {{}} px high")
