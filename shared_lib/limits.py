"""How much one image may cost: checked from its header before a pixel is decoded, and enforced by the kernel after.

`docs/limits.md` is written from this model by `make contracts`. It is plain, and knows no environment, because the
decoder's child is handed it and has none; `settings` reads it.
"""

from dataclasses import dataclass, fields
from typing import Annotated, get_args

from shared_lib.constraints import Bounds
from shared_lib.errors import FailureCode, Rejected

MIB = 1 << 20

MAX_SIDE = 8_192
"""The most that `max_output_side` may be, px: the API's description says it of every side that a recipe names."""

_POSITIVE = Bounds(gt=0)
_LEAST_MEMORY = 128 * MIB  # measured: in 112 a child reads every kind of image, if it is small


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one image is granted. Beyond any of these it is refused, with the limit's own code and the numbers.

    The code stands beside the type; a limit without one is kept quietly.
    """

    max_bytes: Annotated[int, _POSITIVE, FailureCode.FILE_TOO_LARGE] = 100 * MIB
    """Of the encoded file. Cloudflare Images takes 100 MB; a 100 MP photograph needs about half of it."""

    max_pixels: Annotated[int, _POSITIVE, FailureCode.TOO_MANY_PIXELS] = 100_000_000
    """Width x height of one frame, px; also of what an operation makes of it, and of all images inside an SVG together.
    Cloudflare Images: 100 MP; imgproxy and imageflow: 50 MP."""

    max_side: Annotated[int, _POSITIVE, FailureCode.SIDE_TOO_LONG] = 30_000
    """Width or height, px. Holds panoramas; below JPEG's own 65,535, so that one row always fits in memory."""

    max_channels: Annotated[int, _POSITIVE, FailureCode.TOO_MANY_CHANNELS] = 5
    """Of a pixel: CMYK and alpha. sharp's limit."""

    max_bits: Annotated[int, _POSITIVE, FailureCode.TOO_MANY_BITS] = 16
    """Of a channel. What has more was measured, not photographed."""

    max_metadata_bytes: Annotated[int, _POSITIVE, FailureCode.METADATA_TOO_LARGE] = 10 * MIB
    """Of EXIF, XMP, IPTC, ICC profile and comments together, unpacked. EXIF in a JPEG ends at 64 KiB; ICC profiles for
    printing may have a few MB."""

    max_frames: Annotated[int, _POSITIVE, FailureCode.TOO_MANY_FRAMES] = 300
    """Of an animation that is kept. Of one that is not, only the first frame is ever decoded, so any number is fine."""

    max_animation_pixels: Annotated[int, _POSITIVE, FailureCode.ANIMATION_TOO_LARGE] = 100_000_000
    """All frames of an animation that is kept, together, px. imgproxy and Cloudflare Images count so, too."""

    max_svg_bytes: Annotated[int, _POSITIVE, FailureCode.SVG_TOO_LARGE] = 10 * MIB
    """Of an SVG, whose every byte may become a shape to draw. imgproxy: 10 MB."""

    max_svg_elements: Annotated[int, _POSITIVE, FailureCode.TOO_MANY_ELEMENTS] = 100_000
    """Detailed maps have some ten thousands."""

    max_svg_depth: Annotated[int, _POSITIVE, FailureCode.NESTED_TOO_DEEPLY] = 200
    """Elements within elements. Drawing programs stay below 50; the renderer recurses, and its stack is finite."""

    max_output_pixels: Annotated[int, _POSITIVE, FailureCode.OUTPUT_TOO_LARGE] = 20_000_000
    """Width x height of a rendition, all frames together, px. imageflow encodes at most 20 MP."""

    max_output_side: Annotated[int, Bounds(ge=1, le=MAX_SIDE), FailureCode.OUTPUT_SIDE_TOO_LONG] = MAX_SIDE
    """Of a rendition, px; 8,192 is the most that may be set. ImageMagick's web-safe policy: 8 KP."""

    max_output_bytes: Annotated[int, _POSITIVE, FailureCode.OUTPUT_TOO_MANY_BYTES] = 64 * MIB
    """All renditions of one image together. A child that would send more is not believed."""

    memory_bytes: Annotated[int, Bounds(ge=_LEAST_MEMORY), FailureCode.DECODER_OUT_OF_MEMORY] = 1024 * MIB
    """Address space of one child (RLIMIT_AS); 128 MiB, the least that may be set, holds small images of every kind.
    ImageMagick's web-safe policy maps at most 1 GiB."""

    wall_seconds: Annotated[float, Bounds(gt=0, allow_inf_nan=False), FailureCode.DECODER_TIMEOUT] = 30.0
    """From sending an image to its last rendition, s; the child is then killed. Three times as long must be less
    than the event's source waits, which is 120 s. ImageMagick's web-safe policy: 30 s."""

    cpu_seconds: Annotated[int, _POSITIVE, FailureCode.DECODER_TIMEOUT] = 20
    """Processor time of one image, s (RLIMIT_CPU). At most LIMITS_WALL_SECONDS, which a decoder may also just wait."""

    @classmethod
    def code_of(cls, limit: str) -> FailureCode | None:
        """What an image is failed with beyond this limit."""
        _, *said = next(get_args(field.type) for field in fields(cls) if field.name == limit)
        return next((each for each in said if isinstance(each, FailureCode)), None)

    def enforce(self, limit: str, actual: int, fact: str, refusal: type[Rejected] = Rejected) -> None:
        """Raise the refusal if more was found than the limit named grants.

        `fact` begins the sentence, with {} for the number that was found.
        """
        most = getattr(self, limit)
        if actual > most:
            sentence = f"{fact.format(f'{actual:,}')}; at most {most:,} are allowed."
            raise refusal(self._failure(limit), sentence)

    def enforce_file(self, size: int) -> None:
        """Raise Rejected if an encoded file has more bytes than are taken."""
        self.enforce("max_bytes", size, "The file has {} bytes")

    def enforce_output(self, size: int, refusal: type[Rejected] = Rejected) -> None:
        """Raise the refusal if all renditions of an image have too many bytes together."""
        self.enforce("max_output_bytes", size, "The renditions have {} bytes together", refusal)

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
            raise LookupError(f"{limit} has no code to refuse an image with")
        return code


def _unfinished(most: str, unit: str) -> str:
    return f"The image was not done after {most} {unit}; at most {most} are allowed."
