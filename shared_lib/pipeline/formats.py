"""The formats this service reads, told apart by their first bytes: names and declared types are never believed."""

import importlib
import re
from enum import StrEnum
from importlib.util import find_spec
from types import ModuleType

from shared_lib.errors import FailureCode, Rejected


class Format(StrEnum):
    """An image format that is read; also the name a rendition's format has in a recipe."""

    JPEG = "jpeg"
    PNG = "png"
    GIF = "gif"
    WEBP = "webp"
    AVIF = "avif"
    TIFF = "tiff"
    BMP = "bmp"
    HEIC = "heic"
    JXL = "jxl"
    SVG = "svg"

    @property
    def content_type(self) -> str:
        return "image/svg+xml" if self is Format.SVG else f"image/{self.value}"

    @property
    def extension(self) -> str:
        """Without a dot, as file names carry it."""
        return "jpg" if self is Format.JPEG else self.value


_MAGIC = {
    b"\xff\xd8\xff": Format.JPEG,
    b"\x89PNG\r\n\x1a\n": Format.PNG,
    b"GIF87a": Format.GIF,
    b"GIF89a": Format.GIF,
    b"II*\x00": Format.TIFF,
    b"MM\x00*": Format.TIFF,
    b"II+\x00": Format.TIFF,  # BigTIFF
    b"MM\x00+": Format.TIFF,
    b"\xff\x0a": Format.JXL,  # a bare codestream
    b"\0\0\0\x0cJXL \r\n\x87\n": Format.JXL,  # one in boxes
}
# Codecs that a deployment may lack (requirements-codecs.txt): their modules, and the formats' names.
_CODECS_APART = {Format.HEIC: ("pillow_heif", "HEIC"), Format.JXL: ("pillow_jxl", "JPEG XL")}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_ANY_CODEC_BRANDS = {b"mif1", b"msf1"}  # which codec it is, its configuration tells
_CODECS = {b"hvcC": Format.HEIC, b"av1C": Format.AVIF}
_META_BYTES = 4096  # where a HEIF file's properties are, before any pixel
# Two letters alone would be found in much that is no image: each kind of BMP header says how long it is.
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_XML_START = re.compile(rb"(\xef\xbb\xbf)?\s*<(\?xml|!--|!DOCTYPE|svg[\s>:/]|\w+:svg[\s>])", re.IGNORECASE)
_UTF16_MARKS = (b"\xff\xfe<\x00", b"\xfe\xff\x00<")


def has_codec(form: Format) -> bool:
    return form not in _CODECS_APART or find_spec(_CODECS_APART[form][0]) is not None


def describe_missing_codec(form: Format) -> str:
    return f"This deployment has no {_CODECS_APART[form][1]} codec: use another format, such as JPEG or WebP."


def import_codec(form: Format) -> ModuleType:
    """Raises Rejected where the deployment lacks it."""
    if not has_codec(form):
        raise Rejected(FailureCode.UNSUPPORTED_FORMAT, describe_missing_codec(form))
    return importlib.import_module(_CODECS_APART[form][0])


def sniff(data: bytes) -> Format | None:
    """Tell the real format, or None for one that is not read.

    XML of any kind counts as SVG here; whether its root really is `svg` is found out when it is parsed.
    """
    for magic, real in _MAGIC.items():
        if data.startswith(magic):
            return real
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Format.WEBP
    if data[4:8] == b"ftyp":
        return _sniff_heif(data)
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return Format.BMP
    if _XML_START.match(data) or data.startswith(_UTF16_MARKS):
        return Format.SVG
    return None


def _sniff_heif(data: bytes) -> Format | None:
    """Tell the codec inside the container that HEIC and AVIF share."""
    brands = _brands(data)
    if brands & _AVIF_BRANDS:
        return Format.AVIF
    if brands & _HEIC_BRANDS:
        return Format.HEIC
    if brands & _ANY_CODEC_BRANDS:
        return next((real for mark, real in _CODECS.items() if data.find(mark, 0, _META_BYTES) >= 0), None)
    return None


def _brands(data: bytes) -> set[bytes]:
    """List the major and compatible brands of an ISO base media file (ISO/IEC 14496-12, 4.3)."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
