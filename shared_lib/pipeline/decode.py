"""Encoded bytes to pixels: detect the format, check the header against the limits, then decode as little as needed."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pyvips

from shared_lib.errors import FailureCode, Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline.animation import count_frames, join, split
from shared_lib.pipeline.bounds import enforce_header, enforce_metadata_size, enforce_size
from shared_lib.pipeline.codecs import bmp, gif, heif, jxl, pillow, tiff, webp
from shared_lib.pipeline.codecs.bmff import join_tables
from shared_lib.pipeline.codecs.header import claimed_size, count_png_frames, is_lossless_jpeg
from shared_lib.pipeline.codecs.truncation import is_truncated
from shared_lib.pipeline.colorimetry import read_colorimetry
from shared_lib.pipeline.formats import Format, sniff
from shared_lib.pipeline.source import DecodePlan, Source

_ANIMATED = {Format.GIF, Format.WEBP}  # libvips counts their frames
_UPRIGHT = {Format.HEIC: heif, Format.JXL: jxl}  # their decoders return upright pixels
# Sides of the squares that are averaged, px, by the least factor by which the image is scaled down. Larger squares need
# a larger factor: the resampling that follows must have enough left to do, or SSIM falls.
_SQUARES = {24: 8, 12: 4, 4: 2}
_SCALED_WEBP = 0.8  # up to this scale libwebp scales while it decodes. Beyond, that is no faster than to resample
# libheif also reports a failed allocation when a file exceeds libheif's own limits.
_OUT_OF_MEMORY = re.compile(
    # A thread that cannot be created has no memory for its stack: nothing else that it needs is limited.
    r"out of memory|insufficient memory|memory allocation(?! error: security limit)|cannot allocate"
    r"|error creating thread|can't start new thread",
    re.IGNORECASE,
)
# Messages of Pillow and libheif begin so; those of libtiff, libvips and libjpeg contain it somewhere.
_UNSUPPORTED = re.compile(
    r"unsupported (bmp|feature)|.*(is not configured|decoding is not implemented|separate planes not supported"
    r"|unsupported (jpeg data precision|color conversion|tiff image type)|not a whole number of bytes"
    r"|samples out of range|not 1 bands|can not handle image|bad labq format)",
    re.IGNORECASE | re.DOTALL,
)
# Stray bytes between markers, which some cameras write; and YCbCr that claims to be YCCK, which it cannot be.
_UNTIDY = re.compile("extraneous bytes before marker|unknown adobe color transform", re.IGNORECASE)
_MAX_DRAWN_PIXELS = 16_000_000  # of an SVG; a larger one is drawn at this size and enlarged


def inspect(data: bytes, limits: Limits) -> Source:
    """Read the format and the header, and check them against the limits.

    Raises Rejected: empty_file, unsupported_format, corrupt_image, unsafe_svg, or the code of a limit.
    """
    if not data:
        raise Rejected(FailureCode.EMPTY_FILE, "The file is empty.")
    limits.enforce_file(len(data))
    real = sniff(data)
    if real is Format.SVG:
        return _inspect_drawing(data, limits)
    return _inspect_raster(data, real, limits)


def _inspect_raster(data: bytes, real: Format | None, limits: Limits) -> Source:
    if real is Format.BMP:
        return _inspect_bitmap(data, limits)
    if real is Format.AVIF:
        return _inspect_by_pillow(join_tables(data), real, limits)
    if real in _UPRIGHT:
        return _inspect_upright(data, real, limits)
    if real is None or real.info.loader is None:
        *names, last = (form.info.name for form in Format)
        raise Rejected(FailureCode.UNSUPPORTED_FORMAT, f"The file is not a {', '.join(names)} or {last} image.")
    return _inspect_by_libvips(data, real, limits)


def _inspect_by_libvips(data: bytes, real: Format, limits: Limits) -> Source:
    claimed = claimed_size(data, real) if real in _ANIMATED else None
    if claimed is not None:
        enforce_size(*claimed, limits)
        if 0 in claimed:
            raise corrupt(real)
    with decoder_errors(real):
        header = _load_webp_header(data, claimed) if claimed and real is Format.WEBP else _load(data, real)
    width, height = claimed or (header.width, header.height)
    enforce_size(width, height, limits)
    enforce_header(header, limits)
    if is_truncated(data, real):
        raise corrupt(real)
    orientation = header.get("orientation") if header.get_typeof("orientation") else 1
    frames = count_png_frames(data) if real is Format.PNG else count_frames(header) if real in _ANIMATED else 1
    is_scalable = real is Format.WEBP or (real is Format.JPEG and not is_lossless_jpeg(data))
    colorimetry = read_colorimetry(data, real)
    return Source(data, real, width, height, orientation, frames, is_scalable=is_scalable, colorimetry=colorimetry)


def _inspect_bitmap(data: bytes, limits: Limits) -> Source:
    with decoder_errors(Format.BMP):
        width, height = bmp.read_size(data)
    enforce_size(width, abs(height), limits)
    enforce_metadata_size(len(bmp.find_profile(data)), limits)
    if bmp.read_bitmap(data) is None:
        with decoder_errors(Format.BMP):
            data = bmp.tidy(data)
    if bmp.read_bitmap(data) is None:
        return _inspect_by_pillow(data, Format.BMP, limits)
    return Source(data, Format.BMP, width, abs(height), orientation=1)


def _inspect_by_pillow(data: bytes, real: Format, limits: Limits) -> Source:
    if real is Format.AVIF:
        enforce_size(*claimed_size(data, real), limits)
    with decoder_errors(real):
        try:
            header = pillow.open_header(data, real)
        except pillow.ERRORS:
            if real is not Format.AVIF:
                raise
            # Where a file breaks HEIF's rules, libheif may be less strict than libavif.
            return _inspect_by_libvips(data, real, limits)
        orientation = pillow.orientation_of(header)
    enforce_size(header.width, header.height, limits)
    enforce_metadata_size(sum(len(value) for value in header.info.values() if isinstance(value, bytes)), limits)
    size = header.width, header.height
    return Source(data, real, *size, orientation, by_pillow=True, colorimetry=read_colorimetry(data, real))


def _inspect_upright(data: bytes, real: Format, limits: Limits) -> Source:
    if real is Format.HEIC:
        enforce_size(*claimed_size(data, real), limits)
    with decoder_errors(real):
        width, height = _UPRIGHT[real].read_size(data)
    enforce_size(width, height, limits)
    if 0 in (width, height):
        raise corrupt(real)
    return Source(data, real, width, height, orientation=1, colorimetry=read_colorimetry(data, real))


def _inspect_drawing(data: bytes, limits: Limits) -> Source:
    from shared_lib.pipeline.codecs import svg  # noqa: PLC0415  only drawings need its XML parser and renderer

    def count_pixels(embedded: bytes) -> int:
        image = _inspect_raster(embedded, sniff(embedded), limits)
        return image.width * image.height

    drawing = svg.sanitize(data, limits, count_pixels)
    width, height = (max(1, round(side)) for side in (drawing.width, drawing.height))
    enforce_size(width, height, limits)
    return Source(drawing.markup.encode(), Format.SVG, width, height, orientation=1)


@contextmanager
def decoder_errors(real: Format) -> Iterator[None]:
    """Raise a decoder's error as Rejected: corrupt or unsupported. Raises MemoryError if memory was short."""
    try:
        yield
    except (pyvips.Error, *pillow.ERRORS) as error:
        raise_out_of_memory(error)
        if _UNSUPPORTED.match(str(error)):
            raise Rejected(
                FailureCode.UNSUPPORTED_FORMAT, f"The {real.upper()} image is of a kind that is not read."
            ) from error
        raise corrupt(real) from error


def raise_out_of_memory(error: Exception) -> None:
    """Raise MemoryError if the message of a library's error means that."""
    if _OUT_OF_MEMORY.search(str(error)):
        raise MemoryError from error


def is_only_untidy(error: pyvips.Error) -> bool:
    """Return whether libjpeg's warning is harmless: nothing is missing from the image."""
    return _UNTIDY.search(error.detail) is not None


def corrupt(real: Format) -> Rejected:
    return Rejected(FailureCode.CORRUPT_IMAGE, f"The {real.upper()} data is corrupt or truncated.")


def cheapest_scale(source: Source, needed: float) -> float:
    """Return the cheapest scale to decode at that is not below the needed one.

    JPEG's DCT halves up to three times, and libwebp scales while it decodes. Images that Pillow decodes are averaged
    over squares right after, with enough left for the resampling that follows. A drawing is drawn at any size.
    """
    if source.format is Format.SVG:
        return needed
    if source.format is Format.JPEG and source.is_scalable:
        # Leave enough for a real filter after it. This is sharp's rule; without it SSIM falls from 0.97 to 0.92.
        most = min(source.width, source.height)  # no side may vanish
        return next((1 / factor for factor in (8, 4, 2) if needed * (factor + 1) <= 1 and factor <= most), 1.0)
    if source.by_pillow:
        return next((1 / side for smaller, side in _SQUARES.items() if needed * smaller <= 1), 1.0)
    if source.format is Format.WEBP and needed <= _SCALED_WEBP:
        return needed
    return 1.0


def whole_squares(length: int, side: int) -> int:
    """Return how much of a length to average over squares, px.

    A last square that is less than half complete is left out: it would count as much as the others, and shift all that
    lies before it. SSIM of 12 MP averaged by 8 and scaled to 100 px so rises from 0.993 to 0.995.
    """
    return min(length, max(1, round(length / side)) * side)


def decode(source: Source, plan: DecodePlan) -> pyvips.Image:
    """Decode, upright. Pixels are read on demand and in order, so errors may occur as late as during encoding."""
    if source.format is Format.SVG:
        return _draw(source, plan.scale)
    if source.format in _UPRIGHT:
        return _decode_upright(source)
    if source.format is Format.PNG and plan.animated:
        image = pillow.decode_frames(source.data, source.orientation)
    elif source.by_pillow:
        side = round(1 / plan.scale)
        area = whole_squares(source.width, side), whole_squares(source.height, side)
        image = pillow.decode(source.data, source.format, side, area, source.orientation)
    elif source.format is Format.WEBP and webp.is_still(source.data):
        image = _decode_webp(source, plan.scale)
    else:
        image = _decode_raster(source, plan)
    if source.format is Format.BMP and (profile := bmp.find_profile(source.data)):
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    if source.orientation > 1:
        # Turning reads out of order, which a sequential decoder cannot.
        image = join([frame.autorot() for frame in split(image.copy_memory())])
    return image


def _decode_upright(source: Source) -> pyvips.Image:
    image = _UPRIGHT[source.format].decode(source.data)
    if (image.width, image.height) != (source.width, source.height):
        raise corrupt(source.format)
    return image


def _decode_raster(source: Source, plan: DecodePlan) -> pyvips.Image:
    options: dict[str, float | str] = {"n": -1} if plan.animated else {}
    if source.format is Format.WEBP:
        options["scale"] = plan.scale
    elif source.format is Format.JPEG:
        options["shrink"] = round(1 / plan.scale)
        if not source.is_untidy:
            options["fail_on"] = "warning"  # report data that ends early, instead of a gray rest
    elif source.format is Format.GIF and not (screen := gif.read_screen(source.data)).is_filled:
        return gif.decode_on_clear(screen, source.data, options)
    elif source.format is Format.BMP and (bitmap := bmp.read_bitmap(source.data)) is not None:
        return bmp.decode(source.data, bitmap)
    elif source.format is Format.TIFF:
        return tiff.decode(source.data)
    return _load(source.data, source.format, **options)


def _decode_webp(source: Source, scale: float) -> pyvips.Image:
    header = _load_webp_header(source.data, (source.width, source.height))
    size = max(1, round(source.width * scale)), max(1, round(source.height * scale))
    return webp.decode(source.data, header, size, scales=scale < 1)


def _load_webp_header(data: bytes, size: tuple[int, int]) -> pyvips.Image:
    """Load it very small: libvips allocates a result when it opens a WebP."""
    return _load(data, Format.WEBP, scale=1 / min(size))


def _draw(source: Source, scale: float) -> pyvips.Image:
    """Draw an SVG at the requested size, larger or smaller than its own, so that no pixel is enlarged."""
    from shared_lib.pipeline.codecs import svg  # noqa: PLC0415  (same)

    most = math.sqrt(_MAX_DRAWN_PIXELS / (source.width * source.height))
    width, height = (math.ceil(side * min(scale, most)) for side in (source.width, source.height))
    png = svg.rasterize(source.data.decode(), width, height)
    return pyvips.Image.pngload_buffer(png, access="sequential")


def _load(data: bytes, real: Format, **options: float | str) -> pyvips.Image:
    source = pyvips.Source.new_from_memory(data)  # pyvips would copy a buffer
    # The loader of the detected format: libvips must not choose one of its many others. Not sharp's "warning", because
    # libtiff warns of every private tag.
    return getattr(pyvips.Image, str(real.info.loader))(
        source, **{"access": "sequential", "fail_on": "error"} | options
    )
