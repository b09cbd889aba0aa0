"""Limits on the cost of one image: checked from its header before a pixel is decoded, then enforced by the kernel.

`make contracts` writes `docs/limits.md` from this class, and `settings` reads it from the environment. It is a plain
dataclass because sandbox workers, which have no environment, receive it.
"""

from dataclasses import dataclass, fields
from typing import Annotated, get_args

from shared_lib.constraints import Bounds
from shared_lib.errors import FailureCode, Rejected

MIB = 1 << 20

MAX_SIDE = 8_192
"""The largest `max_output_side`, px. The API's description gives it for every side in a recipe."""

_POSITIVE = Bounds(gt=0)
LEAST_MEMORY = 160 * MIB  # measured: in 144 a worker reads every kind of image, if it is small; in 128 none


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one image. Beyond any of them it is rejected, with that limit's code and the numbers.

    The code stands beside the type. A limit without one is enforced without an error.
    """

    max_bytes: Annotated[int, _POSITIVE, FailureCode.FILE_TOO_LARGE] = 100 * MIB
    """Bytes of the encoded file. Cloudflare Images takes 100 MB; a 100 MP photograph needs about half of it."""

    max_pixels: Annotated[int, _POSITIVE, FailureCode.TOO_MANY_PIXELS] = 100_000_000
    """Width x height of one frame, px; also after each operation, and of all images inside an SVG together.
    Cloudflare Images: 100 MP; imgproxy and imageflow: 50 MP."""

    max_side: Annotated[int, _POSITIVE, FailureCode.SIDE_TOO_LONG] = 30_000
    """Width or height, px. Enough for panoramas; below JPEG's own 65,535, so that one row always fits in memory."""

    max_channels: Annotated[int, _POSITIVE, FailureCode.TOO_MANY_CHANNELS] = 5
    """Channels of a pixel: CMYK and alpha. sharp's limit."""

    max_bits: Annotated[int, _POSITIVE, FailureCode.TOO_MANY_BITS] = 16
    """Bits of a channel. Images with more are measurements, not photographs."""

    max_metadata_bytes: Annotated[int, _POSITIVE, FailureCode.METADATA_TOO_LARGE] = 10 * MIB
    """Bytes of EXIF, XMP, IPTC, ICC profile and comments together, unpacked. EXIF in a JPEG ends at 64 KiB; ICC
    profiles for printing may have a few MB."""

    max_frames: Annotated[int, _POSITIVE, FailureCode.TOO_MANY_FRAMES] = 300
    """Frames of an animation that is kept. Otherwise only the first frame is decoded, so any number is fine."""

    max_animation_pixels: Annotated[int, _POSITIVE, FailureCode.ANIMATION_TOO_LARGE] = 100_000_000
    """Pixels of all frames of an animation that is kept. imgproxy and Cloudflare Images count the same way."""

    max_svg_bytes: Annotated[int, _POSITIVE, FailureCode.SVG_TOO_LARGE] = 10 * MIB
    """Bytes of an SVG, each of which may become a shape to draw. imgproxy: 10 MB."""

    max_svg_elements: Annotated[int, _POSITIVE, FailureCode.TOO_MANY_ELEMENTS] = 100_000
    """Elements of an SVG. Detailed maps have tens of thousands."""

    max_svg_depth: Annotated[int, _POSITIVE, FailureCode.NESTED_TOO_DEEPLY] = 200
    """Nested elements of an SVG. Drawing programs stay below 50; the renderer recurses, and its stack is finite."""

    max_output_pixels: Annotated[int, _POSITIVE, FailureCode.OUTPUT_TOO_LARGE] = 20_000_000
    """Width x height of a rendition, all frames together, px. imageflow encodes at most 20 MP."""

    max_output_side: Annotated[int, Bounds(ge=1, le=MAX_SIDE), FailureCode.OUTPUT_SIDE_TOO_LONG] = MAX_SIDE
    """Width or height of a rendition, px. At most 8,192. ImageMagick's web-safe policy: 8 KP."""

    max_output_bytes: Annotated[int, _POSITIVE, FailureCode.OUTPUT_TOO_MANY_BYTES] = 64 * MIB
    """Bytes of all renditions of one image together. A worker that would send more is not believed."""

    memory_bytes: Annotated[int, Bounds(ge=LEAST_MEMORY), FailureCode.DECODER_OUT_OF_MEMORY] = 1024 * MIB
    """Address space of one worker (RLIMIT_AS). At least 160 MiB, which is enough for small images of every kind.
    ImageMagick's web-safe policy maps at most 1 GiB."""

    wall_seconds: Annotated[float, Bounds(gt=0, allow_inf_nan=False), FailureCode.DECODER_TIMEOUT] = 30.0
    """Seconds from sending an image to its last rendition; the worker is then killed. Three times as long must be less
    than the event source's timeout, which is 120 s. ImageMagick's web-safe policy: 30 s."""

    cpu_seconds: Annotated[int, _POSITIVE, FailureCode.DECODER_TIMEOUT] = 20
    """CPU seconds of one image (RLIMIT_CPU). At most LIMITS_WALL_SECONDS, which includes waiting."""

    @classmethod
    def code_of(cls, limit: str) -> FailureCode | None:
        """Return the code of images beyond this limit."""
        _, *annotations = next(get_args(field.type) for field in fields(cls) if field.name == limit)
        return next((each for each in annotations if isinstance(each, FailureCode)), None)

    def enforce(self, limit: str, actual: int, fact: str, error: type[Rejected] = Rejected) -> None:
        """Raise the error if the number is beyond the limit of this name.

        `fact` begins the sentence, with {} for the number.
        """
        most = getattr(self, limit)
        if actual > most:
            sentence = f"{fact.format(f'{actual:,}')}; at most {most:,} are allowed."
            raise error(self._failure(limit), sentence)

    def enforce_file(self, size: int) -> None:
        """Raise Rejected if an encoded file has too many bytes."""
        self.enforce("max_bytes", size, "The file has {} bytes")

    def enforce_output(self, size: int, error: type[Rejected] = Rejected) -> None:
        """Raise the error if all renditions of an image have too many bytes together."""
        self.enforce("max_output_bytes", size, "The renditions have {} bytes together", error)

    @property
    def memory_exceeded(self) -> Rejected:
        most = f"{self.memory_bytes / MIB:,.0f}"
        sentence = f"The image needs more than {most} MiB of memory; at most {most} are allowed."
        return Rejected(self._failure("memory_bytes"), sentence)

    @property
    def wall_exceeded(self) -> Rejected:
        return Rejected(self._failure("wall_seconds"), _unfinished(f"{self.wall_seconds:g}", "s"))

    @property
    def cpu_exceeded(self) -> Rejected:
        return Rejected(self._failure("cpu_seconds"), _unfinished(f"{self.cpu_seconds}", "s of processor time"))

    def _failure(self, limit: str) -> FailureCode:
        code = self.code_of(limit)
        if code is None:
            raise LookupError(f"{limit} has no code to reject an image with")
        return code


def _unfinished(most: str, unit: str) -> str:
    return f"The image was not done after {most} {unit}; at most {most} are allowed."
