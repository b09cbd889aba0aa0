"""Pixels to encoded bytes."""

from collections.abc import Callable
from dataclasses import replace

import pyvips

from shared_lib.pipeline.animation import is_animated
from shared_lib.pipeline.codecs import jxl, pillow
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.metadata import privacy
from shared_lib.pipeline.output import Output

_EVERY_BROWSER = frozenset({Format.JPEG, Format.PNG, Format.WEBP})
_DRAWING = 0.1  # of its raw size: what a drawing packs to without loss, and a photograph never does

# What looks alike to most people. Measured on the photographs in tests/golden: mean CIEDE2000 about 1.1 to 1.3.
_QUALITY = {Format.JPEG: 82, Format.WEBP: 80, Format.AVIF: 55, Format.JXL: 85}
# Of 10.
# AVIF: 124 ms for 800 x 533 px; twice that saves 9 % of the bytes, eight times that 12 %.
# JPEG XL: 93 ms; what it looks like suffers below, and seven times that saves 3 %.
_EFFORT = {Format.JPEG: 5, Format.PNG: 6, Format.WEBP: 7, Format.AVIF: 3, Format.GIF: 7, Format.JXL: 6}

# A JPEG's own Huffman tables take more time than all else of its encoding: 1.6 ms beside 1.0 for 800 x 533 px. Up to
# this size, px, they save 2.5 to 15 % of the bytes and take next to none; with fewer bits a pixel than this, 3 to 60 %,
# for standard tables waste some on each block that is nearly empty. Else it is 1 to 3 %, which effort may ask for.
_SMALL_JPEG, _SPARSE_JPEG = 512 * 512, 0.75


def format_for(output: Output, source: Format, image: pyvips.Image) -> Format:
    """Choose the format: the source's own if every browser shows it, else JPEG, or PNG for what JPEG would spoil."""
    if isinstance(output.format, Format):
        return output.format
    if output.format == "auto":
        return Format.WEBP
    if source in _EVERY_BROWSER or (source is Format.GIF and output.animation == "keep"):
        return source
    # Drawings suffer in JPEG; AVIF, TIFF, HEIC and the rest need PNG for their transparency alone.
    return Format.PNG if source in (Format.GIF, Format.SVG) or image.hasalpha() else Format.JPEG


def encode(image: pyvips.Image, to: Format, output: Output, *, with_location: bool = False) -> bytes:
    """Encode, with the metadata that the output keeps. Only `with_location` keeps where the image was taken."""
    if output.metadata == "keep":
        image = privacy.keep_public(image, to, with_location=with_location)
    elif output.metadata == "copyright":
        image = privacy.keep_copyright(image)
    if output.format == "auto":
        image = image.copy_memory()
        output = replace(output, lossless=_is_drawing(image))
    if output.max_bytes is None or to not in _QUALITY or output.lossless:
        return _ENCODERS[to](image, output)
    return _smallest_loss(image.copy_memory(), to, output, output.max_bytes)


def _smallest_loss(image: pyvips.Image, to: Format, output: Output, most: int) -> bytes:
    """Find the highest quality that stays within so many bytes, by halving: seven encodings at most."""
    low, high = 1, output.quality or _QUALITY[to]
    best = _ENCODERS[to](image, replace(output, quality=high))
    if len(best) <= most:
        return best
    best = _ENCODERS[to](image, replace(output, quality=low))
    while high - low > 1:
        middle = (low + high) // 2
        data = _ENCODERS[to](image, replace(output, quality=middle))
        if len(data) <= most:
            low, best = middle, data
        else:
            high = middle
    return best


def _is_drawing(image: pyvips.Image) -> bool:
    """Tell few flat colors from a photograph: by how well the middle of the image packs without loss."""
    side = min(256, image.width, image.height)
    part = image.crop((image.width - side) // 2, (image.height - side) // 2, side, side)
    packed = len(part.pngsave_buffer(compression=1, filter="all", keep="none"))
    return bool(packed < _DRAWING * side * side * part.bands)


def _keep(output: Output) -> str:
    """What of the metadata the encoder writes."""
    kept = {"strip": "", "copyright": "exif", "keep": "exif:xmp:iptc"}[output.metadata]
    if output.profile == "keep":
        kept = f"{kept}:icc".lstrip(":")
    return kept or "none"


def _metadata(image: pyvips.Image, output: Output) -> dict[str, bytes]:
    """What of the metadata an encoder writes that is not libvips': a pixel's PNG holds it, as bytes."""
    kept = _keep(output)
    if kept == "none":
        return {}
    pixel = pyvips.Image.pngload_buffer(image.crop(0, 0, 1, 1).pngsave_buffer(keep=kept))
    fields = {"exif": "exif-data", "xmp": "xmp-data", "icc_profile": "icc-profile-data"}
    return {name: pixel.get(field) for name, field in fields.items() if pixel.get_typeof(field)}


def _effort(output: Output, to: Format, most: int) -> int:
    """From our scale of 10 to the encoder's."""
    return round((output.effort or _EFFORT[to]) * most / 10)


def _bits(colors: int) -> int:
    return (colors - 1).bit_length()


def _jpeg(image: pyvips.Image, output: Output) -> bytes:
    effort, pixels = output.effort or _EFFORT[Format.JPEG], image.width * image.height
    # libjpeg gives a progressive one tables of its own in any case.
    if effort > 5 or output.progressive or output.max_bytes is not None or pixels <= _SMALL_JPEG:
        return _encode_jpeg(image, output, effort, own_tables=True)
    image = image.copy_memory()
    data = _encode_jpeg(image, output, effort, own_tables=False)
    is_sparse = 8 * len(data) < _SPARSE_JPEG * pixels
    return _encode_jpeg(image, output, effort, own_tables=True) if is_sparse else data


def _encode_jpeg(image: pyvips.Image, output: Output, effort: int, *, own_tables: bool) -> bytes:
    data: bytes = image.jpegsave_buffer(
        Q=output.quality or _QUALITY[Format.JPEG],
        optimize_coding=own_tables,
        interlace=output.progressive,
        trellis_quant=effort > 7,
        subsample_mode="off" if output.chroma_subsampling == "4:4:4" else "on",
        keep=_keep(output),
        background=255,
    )
    return data


def _png(image: pyvips.Image, output: Output) -> bytes:
    if is_animated(image):
        bits = _bits(output.colors) if output.colors else None
        return pillow.encode_png_frames(image, _effort(output, Format.PNG, 9), bits, _metadata(image, output))
    options = {"palette": True, "bitdepth": _bits(output.colors)} if output.colors else {}
    data: bytes = image.pngsave_buffer(
        compression=_effort(output, Format.PNG, 9), interlace=output.progressive, keep=_keep(output), **options
    )
    return data


def _webp(image: pyvips.Image, output: Output) -> bytes:
    quality, effort = output.quality or _QUALITY[Format.WEBP], _effort(output, Format.WEBP, 6)
    if _keep(output) == "none" and not is_animated(image):
        return pillow.encode_webp(image, quality, effort, lossless=output.lossless)
    data: bytes = image.webpsave_buffer(Q=quality, lossless=output.lossless, effort=effort, keep=_keep(output))
    return data


def _avif(image: pyvips.Image, output: Output) -> bytes:
    data: bytes = image.heifsave_buffer(
        Q=output.quality or _QUALITY[Format.AVIF],
        compression="av1",
        lossless=output.lossless,
        effort=_effort(output, Format.AVIF, 9),
        subsample_mode="off" if output.chroma_subsampling == "4:4:4" or output.lossless else "on",
        keep=_keep(output),
    )
    return data


def _jxl(image: pyvips.Image, output: Output) -> bytes:
    image = image.copy_memory()
    quality = None if output.lossless else output.quality or _QUALITY[Format.JXL]
    return jxl.encode(image, _effort(output, Format.JXL, 9), quality, _metadata(image, output))


def _gif(image: pyvips.Image, output: Output) -> bytes:
    data: bytes = image.gifsave_buffer(
        bitdepth=_bits(output.colors or 256), effort=_effort(output, Format.GIF, 10), keep=_keep(output)
    )
    return data


def _tiff(image: pyvips.Image, output: Output) -> bytes:
    data: bytes = image.tiffsave_buffer(compression="deflate", predictor="horizontal", keep=_keep(output))
    return data


_ENCODERS: dict[Format, Callable[[pyvips.Image, Output], bytes]] = {
    Format.JPEG: _jpeg,
    Format.PNG: _png,
    Format.WEBP: _webp,
    Format.AVIF: _avif,
    Format.GIF: _gif,
    Format.TIFF: _tiff,
    Format.JXL: _jxl,
}
