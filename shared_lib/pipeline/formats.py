"""Image formats: one description of each, from which everything else that depends on the format is derived.

A file's format is detected from its first bytes. Its name and declared type don't count.

A new output format is an entry in `_FORMATS` and an encoder in `encode`.
"""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib.util import find_spec
from types import ModuleType

from shared_lib.errors import FailureCode, Rejected


class Format(StrEnum):
    """A format that is read. Its value is its name in recipes."""

    JPEG = "jpeg"
    PNG = "png"
    GIF = "gif"
    WEBP = "webp"
    SVG = "svg"
    AVIF = "avif"
    TIFF = "tiff"
    BMP = "bmp"
    HEIC = "heic"
    JXL = "jxl"

    @property
    def info(self) -> "FormatInfo":
        return _FORMATS[self]

    @property
    def content_type(self) -> str:
        return self.info.content_type

    @property
    def extension(self) -> str:
        """Without a dot."""
        return self.info.extensions[0]


@dataclass(frozen=True, kw_only=True)
class FormatInfo:
    name: str
    content_type: str
    extensions: tuple[str, ...]
    """File name extensions, without a dot. The first is the one that we write."""
    other_extensions: tuple[str, ...] = ()
    """Less common ones that we also accept."""
    magic: tuple[bytes, ...] = ()
    """First bytes of a file, any of which identifies the format."""
    matches: Callable[[bytes], bool] = lambda _: False
    """Detects the format where fixed first bytes are not enough."""
    loader: str | None = None
    """libvips' loader. None if libvips does not read the format."""
    codec: str | None = None
    """Python module of a codec that a deployment may lack (requirements-codecs.txt)."""
    options: frozenset[str] | None = None
    """Output options that only some formats have, and this one too. None if it is never written."""
    quality: int | None = None
    """Default quality, 1 to 100, with which most people see no difference. None for formats that are never lossy."""
    effort: int = 0
    """Default effort of the encoder, 1 to 10."""
    browser_safe: bool = False
    """Every browser shows it, so renditions in the source's format keep it."""

    @property
    def is_written(self) -> bool:
        return self.options is not None


_LOSSY = frozenset({"quality", "max_bytes"})
_META_BYTES = 4096  # a HEIF file's properties are in these, before any pixel
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_GENERIC_BRANDS = {b"mif1", b"msf1"}  # of any codec, which the configuration names
_CONFIGURATIONS = {b"hvcC": Format.HEIC, b"av1C": Format.AVIF}
# Two letters alone would match many other files, so also check the header's size, which gives its kind.
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_XML_START = re.compile(rb"(\xef\xbb\xbf)?\s*<(\?xml|!--|!DOCTYPE|svg[\s>:/]|\w+:svg[\s>])", re.IGNORECASE)
_UTF16_MARKS = (b"\xff\xfe<\x00", b"\xfe\xff\x00<")


def sniff(data: bytes) -> Format | None:
    """Return the file's real format, or None if it is not one that is read.

    Any XML counts as SVG here. The parser rejects it if its root is not `svg`.
    """
    return next((form for form, info in _FORMATS.items() if data.startswith(info.magic) or info.matches(data)), None)


def has_codec(form: Format) -> bool:
    codec = form.info.codec
    return codec is None or find_spec(codec) is not None


def describe_missing_codec(form: Format) -> str:
    return f"This deployment has no {form.info.name} codec: use another format, such as JPEG or WebP."


def import_codec(form: Format) -> ModuleType:
    """Import the codec of a format that has one of its own. Raises Rejected if the deployment lacks it."""
    if not has_codec(form):
        raise Rejected(FailureCode.UNSUPPORTED_FORMAT, describe_missing_codec(form))
    return importlib.import_module(str(form.info.codec))


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _is_bmp(data: bytes) -> bool:
    return data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS


def _is_xml(data: bytes) -> bool:
    return data.startswith(_UTF16_MARKS) or _XML_START.match(data) is not None


def _is_heif(form: Format, data: bytes) -> bool:
    return data[4:8] == b"ftyp" and _detect_heif_codec(data) is form


def _detect_heif_codec(data: bytes) -> Format | None:
    """Return the format in the container that HEIC and AVIF share."""
    brands = _brands(data)
    if brands & _AVIF_BRANDS:
        return Format.AVIF
    if brands & _HEIC_BRANDS:
        return Format.HEIC
    if brands & _GENERIC_BRANDS:
        return next((form for mark, form in _CONFIGURATIONS.items() if data.find(mark, 0, _META_BYTES) >= 0), None)
    return None


def _brands(data: bytes) -> set[bytes]:
    """Return the major and compatible brands of an ISO base media file (ISO/IEC 14496-12, 4.3)."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}


# Default qualities were measured on the photographs in tests/golden: mean CIEDE2000 of about 1.1 to 1.3.
_FORMATS: dict[Format, FormatInfo] = {
    Format.JPEG: FormatInfo(
        name="JPEG",
        content_type="image/jpeg",
        extensions=("jpg", "jpeg"),
        other_extensions=("jfif",),
        magic=(b"\xff\xd8\xff",),
        loader="jpegload_source",
        options=_LOSSY | {"progressive", "chroma_subsampling", "profile"},
        quality=82,
        effort=5,
        browser_safe=True,
    ),
    Format.PNG: FormatInfo(
        name="PNG",
        content_type="image/png",
        extensions=("png",),
        magic=(b"\x89PNG\r\n\x1a\n",),
        loader="pngload_source",
        options=frozenset({"progressive", "colors", "profile", "animation"}),
        effort=6,
        browser_safe=True,
    ),
    Format.GIF: FormatInfo(
        name="GIF",
        content_type="image/gif",
        extensions=("gif",),
        magic=(b"GIF87a", b"GIF89a"),
        loader="gifload_source",
        options=frozenset({"colors", "profile", "animation"}),
        effort=7,
        browser_safe=True,
    ),
    Format.WEBP: FormatInfo(
        name="WebP",
        content_type="image/webp",
        extensions=("webp",),
        matches=_is_webp,
        loader="webpload_source",
        options=_LOSSY | {"lossless", "profile", "animation"},
        quality=80,
        effort=7,
        browser_safe=True,
    ),
    Format.SVG: FormatInfo(name="SVG", content_type="image/svg+xml", extensions=("svg",), matches=_is_xml),
    Format.AVIF: FormatInfo(
        name="AVIF",
        content_type="image/avif",
        extensions=("avif",),
        matches=partial(_is_heif, Format.AVIF),
        loader="heifload_source",
        options=_LOSSY | {"lossless", "chroma_subsampling", "profile"},
        quality=55,
        effort=3,  # 124 ms for 800 x 533 px; twice that saves 9 % of the bytes, eight times that 12 %
    ),
    Format.TIFF: FormatInfo(
        name="TIFF",
        content_type="image/tiff",
        extensions=("tiff",),
        other_extensions=("tif",),
        magic=(b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),  # the latter two are BigTIFF
        loader="tiffload_source",
        options=frozenset({"profile"}),
    ),
    Format.BMP: FormatInfo(name="BMP", content_type="image/bmp", extensions=("bmp",), matches=_is_bmp),
    Format.HEIC: FormatInfo(
        name="HEIC",
        content_type="image/heic",
        extensions=("heic", "heif"),
        matches=partial(_is_heif, Format.HEIC),
        codec="pillow_heif",
    ),
    Format.JXL: FormatInfo(
        name="JPEG XL",
        content_type="image/jxl",
        extensions=("jxl",),
        magic=(b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),  # a bare codestream, and one in boxes
        codec="pillow_jxl",
        options=_LOSSY | {"lossless"},
        quality=85,
        effort=6,  # 93 ms for 800 x 533 px; below, the image suffers visibly, and seven times that saves 3 %
    ),
}

WRITTEN = tuple(form for form in Format if form.info.is_written)
"""Formats that renditions can have."""

BY_EXTENSION = {name: form for form in Format for name in form.info.extensions} | {
    name: form for form in Format for name in form.info.other_extensions
}
"""Formats by file name extension, the common extensions first."""

BY_TYPE = {f"image/{name}": form for name, form in BY_EXTENSION.items()} | {form.content_type: form for form in Format}
"""Formats by media type, those included that clients make of a file name extension."""


def read_extension(written: str) -> str:
    """Return a file name extension as `BY_EXTENSION` has it. Cameras write `.JPG`."""
    return written.lower().removeprefix(".")


def choose_extension(written: str) -> str:
    """Return the extension that we write for the format of another one: `jpg` for `JPEG`."""
    extension = read_extension(written)
    return BY_EXTENSION[extension].extension if extension in BY_EXTENSION else extension


def read_format(written: str) -> str:
    """Return a format's name. Callers write the extension of its files, too."""
    extension = read_extension(written)
    return BY_EXTENSION[extension].value if extension in BY_EXTENSION else extension
