"""The formats this service reads, told apart by their first bytes: names and declared types are never believed."""

import re
from enum import StrEnum


class Format(StrEnum):
    """An image format that is read; also the name a rendition's format has in a recipe."""

    JPEG = "jpeg"
    PNG = "png"
    GIF = "gif"
    WEBP = "webp"
    AVIF = "avif"
    TIFF = "tiff"
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
}
_AVIF_BRANDS = {b"avif", b"avis"}
_XML_START = re.compile(rb"(\xef\xbb\xbf)?\s*<(\?xml|!--|!DOCTYPE|svg[\s>:/]|\w+:svg[\s>])", re.IGNORECASE)
_UTF16_MARKS = (b"\xff\xfe<\x00", b"\xfe\xff\x00<")


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
        return Format.AVIF if _AVIF_BRANDS & _brands(data) else None
    if _XML_START.match(data) or data.startswith(_UTF16_MARKS):
        return Format.SVG
    return None


def _brands(data: bytes) -> set[bytes]:
    """List the major and compatible brands of an ISO base media file (ISO/IEC 14496-12, 4.3)."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
