"""Extract an image's metadata from its source and its decoded pixels."""

import io

import pyvips
from PIL import Image

from shared_lib.pipeline.codecs import pillow
from shared_lib.pipeline.codecs.bmff import list_properties
from shared_lib.pipeline.color import to_srgb
from shared_lib.pipeline.colorimetry import P3_PRIMARIES, SRGB, SRGB_PRIMARIES, Primaries
from shared_lib.pipeline.decode import corrupt
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.metadata.exif import read_exif
from shared_lib.pipeline.metadata.hashes import blur_hash, perceptual_hash, thumb_hash
from shared_lib.pipeline.metadata.model import (
    MAX_FRAMES,
    MAX_PALETTE_COLORS,
    ColorSpace,
    ImageMetadata,
    PaletteColor,
    clean_text,
)
from shared_lib.pipeline.resampling import average
from shared_lib.pipeline.source import Source

_SIDE = 32  # px; no hash, nor a palette of six colors, depends on more
_LARGE_SIDE = 256  # px; an image of twice this is averaged while it is decoded. For smaller ones that takes longer
_MAX_EXIF = 1 << 20  # bytes; a JPEG has at most 64 KiB
_MAX_PROFILE = 4 << 20  # bytes; printers' profiles are no larger
_CANDIDATES = 32  # colors to choose a palette from
_APART = 90**2  # between two colors of a palette, by `_distance`: about as far as two tones of skin or of sky
_SPACES: dict[str, ColorSpace] = {"b-w": "gray", "grey16": "gray", "cmyk": "cmyk", "lab": "lab", "labs": "lab"}
# Parts of profiles' descriptions. The shortest are of compact profiles, which libvips and Facebook embed.
_PROFILES: dict[ColorSpace, tuple[str, ...]] = {"srgb": ("srgb", "c2ci"), "display-p3": ("display p3", "sp3c")}
_COLORIMETRIES: dict[tuple[Primaries, float], ColorSpace] = {
    (SRGB_PRIMARIES, SRGB): "srgb",
    (P3_PRIMARIES, SRGB): "display-p3",
}
_Rgb = tuple[int, int, int]


def extract_metadata(source: Source, image: pyvips.Image) -> ImageMetadata:
    """Extract from the first frame as decoded: upright, at least as large as a thumbnail needs.

    Raises Rejected for a number of frames that the parent would not accept.
    """
    if source.frames > MAX_FRAMES:
        raise corrupt(source.format)
    exif = read_exif(_exif_of(source, image))
    profile = _profile_of(image)
    small, square = _scale_down(image, source)
    return ImageMetadata(
        frames=source.frames,
        has_alpha=image.hasalpha(),
        color_space=_color_space(source, image, profile),
        profile=profile,
        bit_depth=_depth_of(source, image),
        captured_at=exif.captured_at,
        camera_make=exif.camera_make,
        camera_model=exif.camera_model,
        lens_model=exif.lens_model,
        location=exif.location,
        palette=_palette(small),
        thumb_hash=thumb_hash(*small.size, small.tobytes()),
        blur_hash=blur_hash(*small.size, _on_white(small).tobytes()),
        perceptual_hash=perceptual_hash(_SIDE, square.tobytes()),
    )


def _scale_down(image: pyvips.Image, source: Source) -> tuple[Image.Image, Image.Image]:
    """Return it in sRGB, scaled down with its proportions and alpha, and as a gray square."""
    if image.interpretation == "cmyk":
        image = to_srgb(image)  # its fourth channel would be taken for alpha
    width, height = image.width, image.height
    side = max(1, max(width, height) // _LARGE_SIDE)
    pixels = pillow.as_pillow(to_srgb(average(image, side), source.colorimetry)).convert("RGBA")
    box = (0, 0, width / side, height / side)  # without the pixels that averaging adds beyond the edges
    longer = max(_SIDE, width, height)
    size = max(1, round(_SIDE * width / longer)), max(1, round(_SIDE * height / longer))
    square = pixels.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, box)
    return pixels.resize(size, Image.Resampling.BOX, box), _on_white(square).convert("L")


def _exif_of(source: Source, image: pyvips.Image) -> bytes:
    if source.format is Format.TIFF:
        return source.data  # the file itself is a block of EXIF
    block: bytes = image.get("exif-data") if image.get_typeof("exif-data") else b""
    return block if len(block) <= _MAX_EXIF else b""


def _profile_of(image: pyvips.Image) -> str | None:
    """Return the ICC profile's description."""
    profile: bytes = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else b""
    if not 0 < len(profile) <= _MAX_PROFILE:
        return None
    from PIL import ImageCms  # noqa: PLC0415  a library that most images do not need

    try:
        return clean_text(ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.profile_description or "")
    except OSError:  # not a profile
        return None


def _color_space(source: Source, image: pyvips.Image, profile: str | None) -> ColorSpace:
    if image.interpretation in _SPACES:
        return _SPACES[image.interpretation]
    if source.colorimetry is not None:
        return _COLORIMETRIES.get((source.colorimetry.primaries, source.colorimetry.curve), "rgb")
    description = (profile or "srgb").casefold()
    return next((space for space, names in _PROFILES.items() if any(name in description for name in names)), "rgb")


def _depth_of(source: Source, image: pyvips.Image) -> int:
    if source.format is Format.AVIF:
        depths = next((content[5:6] for kind, content in list_properties(source.data) if kind == b"pixi"), b"")
        return min(16, max(1, depths[0])) if depths else 8
    if image.get_typeof("bits-per-sample"):
        return min(64, max(1, int(image.get("bits-per-sample"))))
    return 16 if image.format == "ushort" else 8


def _on_white(image: Image.Image) -> Image.Image:
    """Flatten it, as JPEG does."""
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _palette(image: Image.Image) -> tuple[PaletteColor, ...]:
    """Return the most common colors of opaque pixels that differ clearly: by median cut, then by distance."""
    counted = sorted(_count_colors(image), reverse=True)
    chosen: dict[_Rgb, int] = {}
    for _, color in counted:
        if len(chosen) < MAX_PALETTE_COLORS and all(_distance(color, other) >= _APART for other in chosen):
            chosen[color] = 0
    for count, color in counted:
        chosen[min(chosen, key=lambda other: _distance(color, other))] += count
    most_common_first = sorted(chosen.items(), key=lambda each: -each[1])
    total = sum(chosen.values())
    return tuple(
        PaletteColor(color="#{:02x}{:02x}{:02x}".format(*color), share=round(count / total, 3))
        for color, count in most_common_first
    )


def _count_colors(image: Image.Image) -> list[tuple[int, _Rgb]]:
    if min(image.getchannel("A").tobytes()) <= 127:
        image = _keep_opaque(image)
    reduced = image.convert("RGB").quantize(_CANDIDATES, Image.Quantize.MEDIANCUT)
    levels = reduced.getpalette() or []
    colors = zip(levels[::3], levels[1::3], levels[2::3], strict=True)
    return [(count, color) for count, color in zip(reduced.histogram(), colors, strict=False) if count]


def _keep_opaque(image: Image.Image) -> Image.Image:
    """Return its opaque pixels in one row."""
    pixels = image.tobytes()
    opaque = [pixels[at : at + 4] for at in range(0, len(pixels), 4) if pixels[at + 3] > 127]
    return Image.frombytes("RGBA", (len(opaque), 1), b"".join(opaque))


def _distance(one: _Rgb, other: _Rgb) -> float:
    """Return roughly how different two colors look: the square of https://www.compuphase.com/cmetric.htm."""
    redness = (one[0] + other[0]) / 512
    red, green, blue = one[0] - other[0], one[1] - other[1], one[2] - other[2]
    return (2 + redness) * red * red + 4 * green * green + (3 - redness) * blue * blue
