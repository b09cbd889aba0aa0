"""Pixels to encoded bytes: one encoder per format."""

from collections.abc import Callable
from dataclasses import replace

import pyvips

from shared_lib.pipeline.animation import is_animated
from shared_lib.pipeline.codecs import jxl, pillow
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.metadata import privacy
from shared_lib.pipeline.output import OutputOptions

Encoder = Callable[[pyvips.Image, OutputOptions], bytes]

# The share of its raw size to which a drawing can be packed without loss. A photograph never can.
_DRAWING = 0.1

# A JPEG's own Huffman tables take more time than all else of its encoding: 1.6 ms beside 1.0 for 800 x 533 px. Up to
# this size, px, they save 2.5 to 15 % of the bytes and take next to no time. With fewer bits per pixel than this they
# save 3 to 60 %, because standard tables waste some on each block that is nearly empty. Otherwise they save 1 to 3 %,
# and only higher efforts use them.
_SMALL_JPEG, _SPARSE_JPEG = 512 * 512, 0.75

_encoders: dict[Format, Encoder] = {}


def encodes(form: Format) -> Callable[[Encoder], Encoder]:
    """Register the decorated function as the format's encoder."""

    def register(encoder: Encoder) -> Encoder:
        _encoders[form] = encoder
        return encoder

    return register


def format_for(output: OutputOptions, source: Format, image: pyvips.Image) -> Format:
    """Choose the format: the source's own if every browser shows it, else JPEG, or PNG where JPEG would do damage."""
    if isinstance(output.format, Format):
        return output.format
    if output.format == "auto":
        return Format.WEBP
    if output.format == "compatible":
        return Format.PNG if image.hasalpha() else Format.JPEG
    if source.info.browser_safe and (source is not Format.GIF or output.animation == "keep"):
        return source
    # JPEG damages drawings. AVIF, TIFF, HEIC and the rest need PNG only for their transparency.
    return Format.PNG if source in (Format.GIF, Format.SVG) or image.hasalpha() else Format.JPEG


def encode(image: pyvips.Image, to: Format, output: OutputOptions, *, with_location: bool = False) -> bytes:
    """Encode, with the metadata that the output keeps. Only `with_location` keeps where the image was taken."""
    if output.metadata == "keep":
        image = privacy.keep_public(image, to, with_location=with_location)
    elif output.metadata == "copyright":
        image = privacy.keep_copyright(image)
    if output.format == "auto":
        image = image.copy_memory()
        output = replace(output, lossless=_is_drawing(image))
    if output.max_bytes is None or to.info.quality is None or output.lossless:
        return _encoders[to](image, output)
    return _encode_within(output.max_bytes, image.copy_memory(), to, output)


def _encode_within(max_bytes: int, image: pyvips.Image, to: Format, output: OutputOptions) -> bytes:
    """Encode with the highest quality that stays within so many bytes. Bisection takes at most seven encodings."""
    low, high = 1, _quality(output, to)
    best = _encoders[to](image, replace(output, quality=high))
    if len(best) <= max_bytes:
        return best
    best = _encoders[to](image, replace(output, quality=low))
    while high - low > 1:
        middle = (low + high) // 2
        data = _encoders[to](image, replace(output, quality=middle))
        if len(data) <= max_bytes:
            low, best = middle, data
        else:
            high = middle
    return best


def _is_drawing(image: pyvips.Image) -> bool:
    """Return whether it has few flat colors, unlike a photograph: the middle packs well without loss."""
    side = min(256, image.width, image.height)
    part = image.crop((image.width - side) // 2, (image.height - side) // 2, side, side)
    packed = len(part.pngsave_buffer(compression=1, filter="all", keep="none"))
    return bool(packed < _DRAWING * side * side * part.bands)


def _keep(output: OutputOptions) -> str:
    """Return the kinds of metadata to write, as libvips names them."""
    kept = {"strip": "", "copyright": "exif", "keep": "exif:xmp:iptc"}[output.metadata]
    if output.profile == "keep":
        kept = f"{kept}:icc".lstrip(":")
    return kept or "none"


def _metadata(image: pyvips.Image, output: OutputOptions) -> dict[str, bytes]:
    """Return the metadata for an encoder other than libvips', as bytes, which a PNG of one pixel yields."""
    kept = _keep(output)
    if kept == "none":
        return {}
    pixel = pyvips.Image.pngload_buffer(image.crop(0, 0, 1, 1).pngsave_buffer(keep=kept))
    fields = {"exif": "exif-data", "xmp": "xmp-data", "icc_profile": "icc-profile-data"}
    return {name: pixel.get(field) for name, field in fields.items() if pixel.get_typeof(field)}


def _quality(output: OutputOptions, to: Format) -> int:
    return output.quality or to.info.quality or 100


def _effort(output: OutputOptions, to: Format, most: int) -> int:
    """Convert our effort of 1 to 10 to the encoder's scale."""
    return round((output.effort or to.info.effort) * most / 10)


def _bits(colors: int) -> int:
    return (colors - 1).bit_length()


@encodes(Format.JPEG)
def _encode_jpeg(image: pyvips.Image, output: OutputOptions) -> bytes:
    effort, pixels = output.effort or Format.JPEG.info.effort, image.width * image.height
    # libjpeg gives a progressive one its own tables in any case.
    if effort > 5 or output.progressive or output.max_bytes is not None or pixels <= _SMALL_JPEG:
        return _save_jpeg(image, output, effort, own_tables=True)
    image = image.copy_memory()
    data = _save_jpeg(image, output, effort, own_tables=False)
    is_sparse = 8 * len(data) < _SPARSE_JPEG * pixels
    return _save_jpeg(image, output, effort, own_tables=True) if is_sparse else data


def _save_jpeg(image: pyvips.Image, output: OutputOptions, effort: int, *, own_tables: bool) -> bytes:
    data: bytes = image.jpegsave_buffer(
        Q=_quality(output, Format.JPEG),
        optimize_coding=own_tables,
        interlace=output.progressive,
        trellis_quant=effort > 7,
        subsample_mode="off" if output.chroma_subsampling == "4:4:4" else "on",
        keep=_keep(output),
        background=255,
    )
    return data


@encodes(Format.PNG)
def _encode_png(image: pyvips.Image, output: OutputOptions) -> bytes:
    if is_animated(image):
        bits = _bits(output.colors) if output.colors else None
        return pillow.encode_png_frames(image, _effort(output, Format.PNG, 9), bits, _metadata(image, output))
    options = {"palette": True, "bitdepth": _bits(output.colors)} if output.colors else {}
    data: bytes = image.pngsave_buffer(
        compression=_effort(output, Format.PNG, 9), interlace=output.progressive, keep=_keep(output), **options
    )
    return data


@encodes(Format.WEBP)
def _encode_webp(image: pyvips.Image, output: OutputOptions) -> bytes:
    quality, effort = _quality(output, Format.WEBP), _effort(output, Format.WEBP, 6)
    if _keep(output) == "none" and not is_animated(image):
        return pillow.encode_webp(image, quality, effort, lossless=output.lossless)
    data: bytes = image.webpsave_buffer(Q=quality, lossless=output.lossless, effort=effort, keep=_keep(output))
    return data


@encodes(Format.AVIF)
def _encode_avif(image: pyvips.Image, output: OutputOptions) -> bytes:
    data: bytes = image.heifsave_buffer(
        Q=_quality(output, Format.AVIF),
        compression="av1",
        lossless=output.lossless,
        effort=_effort(output, Format.AVIF, 9),
        subsample_mode="off" if output.chroma_subsampling == "4:4:4" or output.lossless else "on",
        keep=_keep(output),
    )
    return data


@encodes(Format.JXL)
def _encode_jxl(image: pyvips.Image, output: OutputOptions) -> bytes:
    image = image.copy_memory()
    quality = None if output.lossless else _quality(output, Format.JXL)
    return jxl.encode(image, _effort(output, Format.JXL, 9), quality, _metadata(image, output))


@encodes(Format.GIF)
def _encode_gif(image: pyvips.Image, output: OutputOptions) -> bytes:
    data: bytes = image.gifsave_buffer(
        bitdepth=_bits(output.colors or 256), effort=_effort(output, Format.GIF, 10), keep=_keep(output)
    )
    return data


@encodes(Format.TIFF)
def _encode_tiff(image: pyvips.Image, output: OutputOptions) -> bytes:
    data: bytes = image.tiffsave_buffer(compression="deflate", predictor="horizontal", keep=_keep(output))
    return data
