"""Sizes held against the limits, before anything of that size is decoded or made."""

from shared_lib.errors import FailureCode, Rejected
from shared_lib.pipeline.limits import Limits
from shared_lib.pipeline.operations import MAX_SIDE


class Unfit(Rejected):
    """It is a recipe that cannot be carried out, and not the image that is to blame: others may be made of it."""


def bound(width: int, height: int, limits: Limits, *, refusal: type[Rejected] = Rejected) -> None:
    """Raise the refusal when an image of this size, px, may not be decoded, or made on the way to a rendition."""
    if max(width, height) > limits.max_side or width * height > limits.max_pixels:
        raise refusal(
            FailureCode.TOO_MANY_PIXELS,
            f"The image is {width:,} x {height:,} = {width * height:,} pixels; at most {limits.max_pixels:,} are "
            f"allowed, and {limits.max_side:,} a side.",
        )


def bound_output(width: int, height: int, limits: Limits) -> None:
    """Raise Unfit when a rendition of this size, px, may not be made."""
    if max(width, height) > MAX_SIDE or width * height > limits.max_output_pixels:
        raise Unfit(
            FailureCode.TOO_MANY_PIXELS,
            f"The rendition would be {width:,} x {height:,} = {width * height:,} pixels; at most "
            f"{limits.max_output_pixels:,} are allowed, and {MAX_SIDE:,} a side.",
        )


def bound_frames(frames: int, width: int, height: int, limits: Limits) -> None:
    """Raise Unfit when an animation of so many frames of this size, px, may not be decoded."""
    if frames > limits.max_frames or frames * width * height > limits.max_pixels:
        raise Unfit(
            FailureCode.TOO_MANY_PIXELS,
            f"The animation has {frames:,} frames of {width:,} x {height:,} = {frames * width * height:,} pixels; at "
            f"most {limits.max_frames:,} frames are allowed, and {limits.max_pixels:,} pixels together.",
        )


def bound_bytes(together: int, limits: Limits) -> None:
    """Raise Unfit when all renditions of an image have too many bytes together."""
    if together > limits.max_output_bytes:
        raise Unfit(
            FailureCode.FILE_TOO_LARGE,
            f"The renditions have {together:,} bytes together; at most {limits.max_output_bytes:,} are allowed.",
        )
