"""No rendition exposes a person, and none a place unless the operator keeps places."""

import io
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from itertools import product

import pillow_jxl  # noqa: F401  importing it registers it with Pillow
import pytest
import pyvips
from PIL import Image, PngImagePlugin
from pipeline.pictures import decode, photograph, save

from shared_lib.limits import Limits
from shared_lib.pipeline.formats import WRITTEN, sniff
from shared_lib.pipeline.metadata.privacy import filter_iptc, filter_xmp
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.render import render

SOURCES = ["jpeg", "png", "gif", "webp", "avif", "heic", "tiff", "jxl"]
READ_EXIF = [each for each in SOURCES if each not in ("gif", "tiff")]
"""GIF has none, and libvips does not read that of TIFF."""
TARGETS = [form.value for form in WRITTEN]
MODES = ["strip", "copyright", "keep"]

PLACE = "PLACE"
"""In each text about where it was taken."""
PERSON = "PERSON"
"""In each text that exposes a person: owner, serial numbers, contact, people in the picture, and notes."""
COPYRIGHT, ARTIST, MODEL = "Copyright of somebody", "Artist by trade", "Camera X100"
LATITUDE = (7_654_321, 146_801)  # degrees; unusual enough to be found as bytes
ASCII, BYTE, SHORT, LONG, RATIONAL, UNDEFINED = 2, 1, 3, 4, 5, 7


def _text(text: str) -> tuple[int, bytes]:
    return ASCII, text.encode() + b"\0"


def _ifd(entries: dict[int, tuple[int, bytes]], at: int, following: int = 0) -> bytes:
    """Return a little-endian directory of TIFF tags for this offset, followed by its values."""
    sizes = {ASCII: 1, BYTE: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1}
    values = b""
    head = struct.pack("<H", len(entries))
    begin = at + 2 + 12 * len(entries) + 4
    for tag, (kind, value) in sorted(entries.items()):
        inline = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", begin + len(values))
        head += struct.pack("<HHI", tag, kind, len(value) // sizes[kind]) + inline
        if len(value) > 4:
            values += value + bytes(len(value) % 2)
    return head + struct.pack("<I", following) + values


@cache
def exif_block() -> bytes:
    """Return EXIF with all that cameras, phones and Windows write, and a preview in the second directory."""
    rational = struct.pack
    details = {
        0x829A: (RATIONAL, rational("<II", 1, 250)), 0x829D: (RATIONAL, rational("<II", 28, 10)),
        0x8827: (SHORT, struct.pack("<H", 400)), 0x9000: (UNDEFINED, b"0232"),
        0x9003: _text("2026:03:08 19:02:11"), 0x920A: (RATIONAL, rational("<II", 35, 1)), 0xA434: _text("Lens 35mm"),
        0x927C: (UNDEFINED, f"{PERSON} maker note {PLACE}".encode()),
        0x9286: (UNDEFINED, b"ASCII\0\0\0" + f"{PERSON} comment".encode()),
        0xA420: _text(f"{PERSON} unique id"), 0xA430: _text(f"{PERSON} owner"), 0xA431: _text(f"{PERSON} body"),
        0xA435: _text(f"{PERSON} lens serial"), 0xA43A: _text(f"{PERSON} photographer"),
        0xFDE8: _text(f"{PERSON} owner"),
        0x9C00: _text(f"{PERSON} a tag that nobody knows"),
    }  # fmt: skip
    place = {
        0: (BYTE, b"\2\3\0\0"), 1: _text("N"), 2: (RATIONAL, rational("<6I", *LATITUDE, 0, 1, 0, 1)), 3: _text("E"),
        4: (RATIONAL, rational("<6I", *LATITUDE, 0, 1, 0, 1)), 27: (UNDEFINED, f"ASCII\0\0\0{PLACE}".encode()),
        28: (UNDEFINED, f"ASCII\0\0\0{PLACE} area".encode()), 29: _text("2026:03:08"),
    }  # fmt: skip
    main = {
        0x010E: _text("A harbor"), 0x010F: _text("Maker"), 0x0110: _text(MODEL), 0x013B: _text(ARTIST),
        0x8298: _text(COPYRIGHT), 0x013C: _text(f"{PERSON}'s computer"), 0x9C9D: (BYTE, PERSON.encode("utf-16-le")),
        0x9C9C: (BYTE, PLACE.encode("utf-16-le")), 0xC62F: _text(f"{PERSON} camera serial"),
        0xC68B: _text(f"{PERSON} file"), 0x8769: (LONG, b"    "), 0x8825: (LONG, b"    "),
    }  # fmt: skip
    preview = b"\xff\xd8\xff\xe0" + f"{PERSON} preview {PLACE}".encode() + b"\xff\xd9"
    at = 8
    lengths = [len(_ifd(each, 0)) for each in (main, details, place)]
    starts = [at, at + lengths[0], at + sum(lengths[:2]), at + sum(lengths)]
    main |= {0x8769: (LONG, struct.pack("<I", starts[1])), 0x8825: (LONG, struct.pack("<I", starts[2]))}
    thumbnail = {0x0103: (SHORT, b"\6\0"), 0x0201: (LONG, bytes(4)), 0x0202: (LONG, struct.pack("<I", len(preview)))}
    behind = starts[3] + len(_ifd(thumbnail, 0))
    thumbnail[0x0201] = (LONG, struct.pack("<I", behind))
    return (
        b"II*\0" + struct.pack("<I", at) + _ifd(main, at, starts[3]) + _ifd(details, starts[1]) + _ifd(place, starts[2])
        + _ifd(thumbnail, starts[3]) + preview
    )  # fmt: skip


XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="{PERSON}" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:aux="http://ns.adobe.com/exif/1.0/aux/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/"
 xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" xmlns:core="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
 xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:regions="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:own="urn:whoever"
 aux:SerialNumber="{PERSON} 1" aux:LensSerialNumber="{PERSON} 2" aux:OwnerName="{PERSON}" aux:Lens="Lens 35mm"
 exif:GPSLatitude="52,8.4N {PLACE}" exif:GPSLongitude="4,3.1E {PLACE}" exif:ImageUniqueID="{PERSON}"
 exif:FNumber="28/10"
 tiff:Model="{MODEL}" photoshop:City="{PLACE}" core:Location="{PLACE} 12" xmpMM:DocumentID="{PERSON}"
 own:field="{PERSON}" photoshop:AuthorsPosition="{PERSON}">
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">{COPYRIGHT}</rdf:li></rdf:Alt></dc:rights>
<dc:creator><rdf:Seq><rdf:li>{ARTIST}</rdf:li></rdf:Seq></dc:creator>
<dc:subject><rdf:Bag><rdf:li>{PERSON}</rdf:li><rdf:li>{PLACE}</rdf:li></rdf:Bag></dc:subject>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">A title</rdf:li></rdf:Alt><own:more>{PERSON}</own:more></dc:title>
<dc:description><rdf:Alt><rdf:li rdf:parseType="Resource"><own:more>{PERSON}</own:more></rdf:li></rdf:Alt>
</dc:description>
<core:CreatorContactInfo rdf:parseType="Resource"><core:CiEmailWork>{PERSON}</core:CiEmailWork>
</core:CreatorContactInfo>
<ext:LocationCreated><rdf:Bag><rdf:li rdf:parseType="Resource"><ext:City>{PLACE}</ext:City></rdf:li></rdf:Bag>
</ext:LocationCreated><ext:PersonInImage><rdf:Bag><rdf:li>{PERSON}</rdf:li></rdf:Bag></ext:PersonInImage>
<regions:Regions rdf:parseType="Resource"><regions:Name>{PERSON}</regions:Name></regions:Regions>
<xmp:Thumbnails><rdf:Alt><rdf:li rdf:parseType="Resource"><xmpGImg:image>{PERSON}</xmpGImg:image></rdf:li></rdf:Alt>
</xmp:Thumbnails><!-- {PERSON} --><?own {PERSON}?></rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>""".encode()


def _dataset(number: int, text: str, record: int = 2) -> bytes:
    return bytes((0x1C, record, number)) + len(text).to_bytes(2) + text.encode()


IPTC = (
    _dataset(90, "\x1b%G", record=1) + _dataset(0, "\0\4") + _dataset(116, COPYRIGHT) + _dataset(80, ARTIST)
    + _dataset(90, PLACE) + _dataset(92, PLACE) + _dataset(101, PLACE) + _dataset(118, PERSON) + _dataset(25, PERSON)
    + _dataset(122, PERSON) + _dataset(40, PERSON)
)  # fmt: skip


def _resource(number: int, data: bytes) -> bytes:
    return b"8BIM" + number.to_bytes(2) + bytes(2) + len(data).to_bytes(4) + data + bytes(len(data) % 2)


PHOTOSHOP = b"Photoshop 3.0\0" + (
    _resource(0x040C, f"{PERSON} thumbnail".encode()) + _resource(0x0404, IPTC) + _resource(0x0422, exif_block())
)


def _segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(data) + 2).to_bytes(2) + data


XMP_END_IN_GIF = bytes([1, *range(255, -1, -1), 0])
"""Ends the packet also for readers that take it for blocks of a length each: XMP specification, part 3."""


@cache
def picture(source: str) -> bytes:
    """Return a photograph with all the metadata that its format allows."""
    plain = Image.fromarray(photograph(64).numpy())
    file = io.BytesIO()
    match source:
        case "jpeg":
            plain.save(file, "JPEG", exif=b"Exif\0\0" + exif_block(), xmp=XMP, comment=f"{PERSON} comment")
            second = io.BytesIO()
            plain.save(second, "JPEG", exif=b"Exif\0\0" + exif_block())
            extended = b"http://ns.adobe.com/xmp/extension/\0" + bytes(40) + f"{PERSON} extended {PLACE}".encode()
            whole = file.getvalue()
            more = _segment(0xED, PHOTOSHOP) + _segment(0xE1, extended) + _segment(0xE2, b"MPF\0" + PERSON.encode())
            return whole[:2] + more + whole[2:] + second.getvalue()
        case "png":
            texts = PngImagePlugin.PngInfo()
            texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
            texts.add_text("Author", f"{PERSON} author")
            texts.add_text("Comment", f"{PLACE} " * 50, zip=True)
            plain.save(file, "PNG", exif=exif_block(), pnginfo=texts)
        case "gif":
            plain.save(file, "GIF", comment=f"{PERSON} comment {PLACE}")
            return file.getvalue()[:-1] + b"\x21\xff\x0bXMP DataXMP" + XMP + XMP_END_IN_GIF + b";"
        case "tiff":
            main = Image.Exif()
            main.load(exif_block())
            main[700], main[33723] = XMP, IPTC
            plain.save(file, "TIFF", exif=main)
        case "jxl":
            return save(plain, "JXL", num_threads=0, exif=bytes(4) + exif_block(), xmp=XMP)
        case "heic":
            return save(plain, "HEIF", exif=exif_block(), xmp=XMP)
        case _:
            plain.save(file, source.upper(), exif=exif_block(), xmp=XMP)
    return file.getvalue()


@cache
def renditions(source: str, *, with_location: bool = False) -> dict[str, bytes]:
    recipes = [
        read_recipe({"name": f"{to}-{mode}", "output": {"format": to, "metadata": mode}})
        for to, mode in product(TARGETS, MODES)
    ]
    rendered = render(picture(source), recipes, Limits(), with_location=with_location)
    assert not rendered.failed
    return {each.name: each.data for each in rendered.renditions}


def texts_of(data: bytes) -> Iterator[bytes]:
    """Return all texts of a file: its bytes, what it compresses, and what two readers extract."""
    yield data
    if sniff(data) == "png":
        at = 8
        while at < len(data):
            length, kind = struct.unpack_from(">I4s", data, at)
            chunk = data[at + 8 : at + 8 + length]
            for start in range(min(len(chunk), 200)) if kind in (b"zTXt", b"iTXt", b"iCCP") else ():
                try:
                    yield zlib.decompress(chunk[start:])
                except zlib.error:
                    continue
            at += 12 + length
    with Image.open(io.BytesIO(data)) as image:
        for value in image.info.values():
            yield value if isinstance(value, bytes) else str(value).encode()
        yield repr(dict(image.getexif())).encode()
        yield repr([image.getexif().get_ifd(ifd) for ifd in (0x8769, 0x8825, 0xA005, 1)]).encode()
    if sniff(data) != "jxl":
        vips = pyvips.Image.new_from_buffer(data, "")
        for field in vips.get_fields():
            value = vips.get(field)
            yield value if isinstance(value, bytes) else str(value).encode()


def mentions(data: bytes, *words: str) -> set[str]:
    return {
        word
        for text in texts_of(data)
        for word in words
        if word.encode() in text or word.encode("utf-16-le") in text or word.encode("utf-16-be") in text
    }


def tells_latitude(data: bytes) -> bool:
    return any(struct.pack(order, *LATITUDE) in text for text in texts_of(data) for order in ("<II", ">II"))


@pytest.mark.parametrize("source", SOURCES)
def test_the_sources_contain_everything_that_must_not_leave(source: str) -> None:
    """Otherwise the tests below would prove nothing."""
    data = picture(source)

    assert sniff(data) == source
    assert b"PERSON" in data
    assert b"PLACE" in data
    assert source == "gif" or struct.pack("<II", *LATITUDE) in data or struct.pack(">II", *LATITUDE) in data


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", SOURCES)
def test_no_rendition_exposes_a_person(source: str, target: str, mode: str) -> None:
    data = renditions(source)[f"{target}-{mode}"]

    assert mentions(data, PERSON, PLACE) == set()
    assert not tells_latitude(data)
    assert mode == "keep" or not mentions(data, MODEL)


@pytest.mark.parametrize("mode", ["copyright", "keep"])
@pytest.mark.parametrize("target", ["jpeg", "png", "webp", "avif", "jxl"])
@pytest.mark.parametrize("source", READ_EXIF)
def test_facts_about_the_picture_are_kept(source: str, target: str, mode: str) -> None:
    data = renditions(source)[f"{target}-{mode}"]

    kept = {MODEL, "Lens 35mm"} if mode == "keep" else set()
    assert mentions(data, COPYRIGHT, ARTIST, MODEL, "Lens 35mm") == {COPYRIGHT, ARTIST} | kept


@pytest.mark.parametrize("target", ["jpeg", "png", "webp", "avif", "tiff", "jxl"])
def test_title_and_copyright_in_xmp_are_kept(target: str) -> None:
    data = renditions("tiff")[f"{target}-keep"]

    assert mentions(data, COPYRIGHT, ARTIST, "A title") >= {COPYRIGHT, ARTIST}


@pytest.mark.parametrize("target", ["jpeg", "png", "webp", "avif", "jxl"])
@pytest.mark.parametrize("source", READ_EXIF)
def test_the_location_is_kept_if_the_operator_keeps_it(source: str, target: str) -> None:
    made = renditions(source, with_location=True)

    assert tells_latitude(made[f"{target}-keep"])
    assert mentions(made[f"{target}-keep"], PERSON) == set()
    assert not tells_latitude(made[f"{target}-copyright"])
    assert mentions(made[f"{target}-strip"], PLACE, PERSON) == set()


@pytest.mark.parametrize(
    "packet",
    [b"", b"<", b"\0", XMP[:-200], XMP.replace(b"<x:xmpmeta", b'<!DOCTYPE a [<!ENTITY e "x">]><x:xmpmeta'), b"<a/>"],
)
def test_xmp_that_cannot_be_read_is_dropped(packet: bytes) -> None:
    assert filter_xmp(packet, with_location=True) == b""


def test_xmp_in_another_encoding_is_read() -> None:
    assert COPYRIGHT.encode() in filter_xmp(XMP.decode().replace("\ufeff", "").encode("utf-16"), with_location=False)


@pytest.mark.parametrize(
    "block", [b"", b"\x1c", b"\x1c\2\x74\xff\xff", PHOTOSHOP[:20], b"Photoshop 3.0\0" + b"8BIM" * 9, b"x"]
)
def test_iptc_that_cannot_be_read_is_dropped(block: bytes) -> None:
    assert filter_iptc(block, with_location=True) == b""


def test_iptc_in_photoshop_s_resources_and_bare_iptc_give_the_same() -> None:
    assert filter_iptc(PHOTOSHOP, with_location=False) == filter_iptc(IPTC, with_location=False)
    assert PLACE.encode() in filter_iptc(IPTC, with_location=True)


def test_a_rendition_has_no_orientation_of_its_own() -> None:
    """Its pixels are upright already."""
    image = decode(renditions("jpeg")["jpeg-keep"])

    assert image.get_typeof("orientation") == 0 or image.get("orientation") == 1
