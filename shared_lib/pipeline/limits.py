"""How much one image may cost: checked from its header before a pixel is decoded, and enforced by the kernel after."""

from pydantic import BaseModel, PositiveFloat, PositiveInt

MB = 1_000_000
MIB = 1 << 20


class Limits(BaseModel, frozen=True):
    """What the decoder box grants one image. Beyond any of these the image is refused, with a code and the numbers."""

    max_bytes: PositiveInt = 100 * MB
    """Of the encoded file. Cloudflare Images takes 100 MB; a 100 MP photograph needs about half of it."""

    max_pixels: PositiveInt = 100_000_000
    """Width x height of one frame, px. Cloudflare Images: 100 MP; imgproxy and imageflow: 50 MP."""

    max_side: PositiveInt = 30_000
    """Width or height, px. Holds panoramas; below JPEG's own 65,535, so that one row always fits in memory."""

    max_frames: PositiveInt = 300
    """Of an animation that is kept. Its frames together may have `max_pixels`; so do imgproxy and Cloudflare count."""

    max_output_pixels: PositiveInt = 20_000_000
    """Width x height of a rendition, all frames together, px. imageflow encodes at most 20 MP."""

    max_svg_bytes: PositiveInt = 10 * MB
    """Of an SVG, whose every byte may become a shape to draw. imgproxy: 10 MB."""

    max_svg_elements: PositiveInt = 100_000
    """Detailed maps have some ten thousands."""

    max_svg_depth: PositiveInt = 200
    """Elements within elements. Drawing programs stay below 50; the renderer recurses, and its stack is finite."""

    memory_bytes: PositiveInt = 1024 * MIB
    """Address space of one child (RLIMIT_AS). ImageMagick's web-safe policy maps at most 1 GiB."""

    wall_seconds: PositiveFloat = 30.0
    """From sending an image to its last rendition, s; the child is then killed. ImageMagick's web-safe policy: 30 s."""

    cpu_seconds: PositiveInt = 20
    """Processor time of one image, s (RLIMIT_CPU). Below `wall_seconds`, so that a spinning decoder ends first."""

    max_output_bytes: PositiveInt = 64 * MIB
    """All renditions of one image together. A child that would send more is not believed."""

    images_per_child: PositiveInt = 500
    """A child is replaced after so many images, before a leak in a native library can matter."""

    def bytes_exceeded(self, actual: int) -> str:
        return f"The file has {actual:,} bytes; at most {self.max_bytes:,} are allowed."

    @property
    def memory_exceeded(self) -> str:
        return f"The image needs more than the {self.memory_bytes / MIB:,.0f} MiB of memory that one may take."

    @property
    def time_exceeded(self) -> str:
        return (
            f"The image took longer than one may: {self.wall_seconds:g} s, or {self.cpu_seconds:g} s of processor time."
        )
