"""The metadata that a rendition may keep: facts about the picture, and nothing that exposes a person.

EXIF, XMP and IPTC are written anew from lists of allowed fields: author and copyright, title and description, when and
with which camera it was taken. Everything else is dropped, known or not: serial numbers, owners, contacts, keywords,
regions with names, editing histories, previews, and makers' notes, which may contain any of these. Where it was taken
is kept only on request. A block that cannot be read is dropped as a whole.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping

import defusedxml.ElementTree
import pyvips

from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.metadata.fields import list_fields

COPYRIGHT = frozenset({"exif-ifd0-Copyright", "exif-ifd0-Artist"})

_EXIF = COPYRIGHT | {
    f"exif-ifd0-{name}"
    for name in (
        "ImageDescription", "Make", "Model", "Orientation", "XResolution", "YResolution", "ResolutionUnit", "Software",
        "DateTime", "YCbCrPositioning",
    )
} | {
    f"exif-ifd2-{name}"
    for name in (
        "ExposureTime", "FNumber", "ExposureProgram", "ISOSpeedRatings", "SensitivityType", "ExifVersion",
        "DateTimeOriginal", "DateTimeDigitized", "OffsetTime", "OffsetTimeOriginal", "OffsetTimeDigitized",
        "SubSecTime", "SubSecTimeOriginal", "SubSecTimeDigitized", "ComponentsConfiguration", "ShutterSpeedValue",
        "ApertureValue", "BrightnessValue", "ExposureBiasValue", "MaxApertureValue", "SubjectDistance", "MeteringMode",
        "LightSource", "Flash", "FocalLength", "FlashpixVersion", "ColorSpace", "PixelXDimension", "PixelYDimension",
        "FocalPlaneXResolution", "FocalPlaneYResolution", "FocalPlaneResolutionUnit", "SensingMethod", "ExposureMode",
        "WhiteBalance", "DigitalZoomRatio", "FocalLengthIn35mmFilm", "SceneCaptureType", "GainControl", "Contrast",
        "Saturation", "Sharpness", "SubjectDistanceRange", "LensSpecification", "LensMake", "LensModel", "Gamma",
    )
}  # fmt: skip
_PLACE_IN_EXIF = "exif-ifd3-"  # the whole GPS block

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "cc": "http://creativecommons.org/ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "exifEX": "http://cipa.jp/exif/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
}
_XMP = {
    "dc": "title description creator rights",
    "xmpRights": "Marked UsageTerms WebStatement",
    "cc": "license attributionName attributionURL",
    "xmp": "CreateDate ModifyDate CreatorTool Rating",
    "photoshop": "Headline Credit DateCreated",
    "tiff": "Make Model Artist Copyright ImageDescription",
    "exif": "ExposureTime FNumber ExposureProgram ExposureBiasValue ExposureMode DateTimeOriginal FocalLength "
    "FocalLengthIn35mmFilm MeteringMode WhiteBalance ISOSpeedRatings",
    "exifEX": "LensMake LensModel PhotographicSensitivity",
    "aux": "Lens",
}
_PLACE_IN_XMP = {
    "exif": "GPSLatitude GPSLongitude GPSAltitude GPSAltitudeRef GPSTimeStamp GPSImgDirection GPSImgDirectionRef",
    "photoshop": "City State Country",
    "Iptc4xmpCore": "Location CountryCode",
}
_LISTS = {f"{{{_RDF}}}{kind}" for kind in ("Alt", "Seq", "Bag")}

# IPTC-IIM 4.2: record and number of each dataset. (1, 90) is the character set.
_IPTC = {(1, 90)} | {(2, number) for number in (0, 5, 55, 60, 62, 63, 80, 85, 105, 110, 115, 116, 120)}
_PLACE_IN_IPTC = {(2, number) for number in (90, 92, 95, 100, 101)}
_PHOTOSHOP, _RESOURCE, _IPTC_RESOURCE = b"Photoshop 3.0\0", b"8BIM", 0x0404


def keep_copyright(image: pyvips.Image) -> pyvips.Image:
    """Keep only EXIF's copyright and artist. The encoder leaves out XMP and IPTC."""
    return _keep_exif(image, COPYRIGHT)


def keep_public(image: pyvips.Image, to: Format, *, with_location: bool) -> pyvips.Image:
    """Keep only the allowed fields, in the form that the format needs."""
    places = {name for name in _list_exif(image) if with_location and name.startswith(_PLACE_IN_EXIF)}
    image = _keep_exif(image, _EXIF | places)
    _replace(image, "xmp-data", filter_xmp(_get(image, "xmp-data"), with_location=with_location))
    iptc = filter_iptc(_get(image, "iptc-data"), with_location=with_location)
    _replace(image, "iptc-data", iptc if to is Format.TIFF or not iptc else _wrap_iptc(iptc))
    return image


def filter_xmp(packet: bytes, *, with_location: bool) -> bytes:
    """Return a new packet (ISO 16684-1) of the allowed properties that are texts or lists of texts, or b"" for none."""
    allowed = _list_properties(_XMP) | (_list_properties(_PLACE_IN_XMP) if with_location else set())
    try:
        tree = defusedxml.ElementTree.fromstring(packet, forbid_dtd=True) if packet else ET.Element("nothing")
    except (ET.ParseError, defusedxml.DefusedXmlException, ValueError, LookupError):
        return b""
    kept = ET.Element(f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""})
    for description in tree.iterfind(f".//{{{_RDF}}}RDF/{{{_RDF}}}Description"):
        kept.extend(_keep_properties(description, allowed))
    if not len(kept):
        return b""
    root = ET.Element("{adobe:ns:meta/}xmpmeta")
    ET.SubElement(root, f"{{{_RDF}}}RDF").append(kept)
    return bytes(ET.tostring(root, encoding="utf-8"))


def _list_properties(names: Mapping[str, str]) -> set[tuple[str, str]]:
    return {(_NAMESPACES[prefix], name) for prefix, some in names.items() for name in some.split()}


def _keep_properties(description: ET.Element, allowed: set[tuple[str, str]]) -> Iterator[ET.Element]:
    """Yield a copy of each allowed property. RDF writes a property as an attribute or as an element."""
    for name, text in description.attrib.items():
        if _split(name) in allowed:
            kept = ET.Element(name)
            kept.text = text
            yield kept
    for element in description:
        if _split(element.tag) in allowed and (copy := _copy(element)) is not None:
            yield copy


def _copy(element: ET.Element) -> ET.Element | None:
    """Copy a property whose value is a text or a list of texts. Return None if it has another structure."""
    copy = ET.Element(element.tag)
    if not len(element):
        copy.text = element.text
        return copy
    inner = element[0]
    if len(element) > 1 or inner.tag not in _LISTS or any(len(item) for item in inner):
        return None
    texts = ET.SubElement(copy, inner.tag)
    for item in inner:
        language = {_LANGUAGE: item.attrib[_LANGUAGE]} if _LANGUAGE in item.attrib else {}
        ET.SubElement(texts, f"{{{_RDF}}}li", language).text = item.text
    return copy


def _split(name: str) -> tuple[str, str]:
    namespace, _, local = name[1:].rpartition("}")
    return namespace, local


def filter_iptc(block: bytes, *, with_location: bool) -> bytes:
    """Return the allowed datasets of a block in Photoshop's resources, as in JPEG, or of a bare one, as in TIFF."""
    allowed = _IPTC | _PLACE_IN_IPTC if with_location else _IPTC
    bare = _unwrap_iptc(block) if block.startswith(_PHOTOSHOP) else block
    kept = [(key, data) for key, data in _read_datasets(bare) if key in allowed]
    if not any(record == 2 and number for (record, number), _ in kept):
        return b""
    return b"".join(bytes((0x1C, *key)) + len(data).to_bytes(2) + data for key, data in kept)


def _read_datasets(block: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    at = 0
    while at + 5 <= len(block) and block[at] == 0x1C:
        length = int.from_bytes(block[at + 3 : at + 5])
        if length & 0x8000:  # an extended dataset: no allowed text is as long
            return
        yield (block[at + 1], block[at + 2]), block[at + 5 : at + 5 + length]
        at += 5 + length


def _unwrap_iptc(block: bytes) -> bytes:
    """Return the IPTC resource's data (Photoshop File Formats Specification, Image Resource Blocks)."""
    at = len(_PHOTOSHOP)
    while block[at : at + 4] == _RESOURCE and at + 7 <= len(block):
        kind = int.from_bytes(block[at + 4 : at + 6])
        start = at + 6 + (block[at + 6] + 2 & ~1)  # after its name, which is padded to an odd length
        length = int.from_bytes(block[start : start + 4])
        if kind == _IPTC_RESOURCE:
            return block[start + 4 : start + 4 + length]
        at = start + 4 + (length + 1 & ~1)
    return b""


def _wrap_iptc(block: bytes) -> bytes:
    padding = bytes(len(block) % 2)
    return _PHOTOSHOP + _RESOURCE + _IPTC_RESOURCE.to_bytes(2) + bytes(2) + len(block).to_bytes(4) + block + padding


def _keep_exif(image: pyvips.Image, fields: Iterable[str]) -> pyvips.Image:
    """Keep only these fields. Drop the block: libvips writes it anew, without tags that it has no names for."""
    image = image.copy()
    for name in (*(each for each in _list_exif(image) if each not in fields), "exif-data", "jpeg-thumbnail-data"):
        if image.get_typeof(name):
            image.remove(name)
    return image


def _list_exif(image: pyvips.Image) -> list[str]:
    names = (name.decode(errors="replace") for name in list_fields(image))
    return [name for name in names if name.startswith("exif-ifd")]


def _get(image: pyvips.Image, field: str) -> bytes:
    data: bytes = image.get(field) if image.get_typeof(field) else b""
    return data


def _replace(image: pyvips.Image, field: str, data: bytes) -> None:
    if data:
        image.set_type(pyvips.GValue.blob_type, field, data)
    elif image.get_typeof(field):
        image.remove(field)


for _prefix, _namespace in {**_NAMESPACES, "rdf": _RDF, "x": "adobe:ns:meta/"}.items():
    ET.register_namespace(_prefix, _namespace)
