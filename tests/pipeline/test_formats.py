"""Formats are detected from the bytes, and every browser shows each format's thumbnail."""

import struct
from pathlib import Path

import pytest
from hostile.bombs import tiff
from pipeline.pictures import (
    FORMATS,
    RASTER_FORMATS,
    color_at,
    decode,
    encode,
    from_pillow,
    pack_jpeg,
    photograph,
    plain,
    sample,
    save,
    to_pillow,
)

from shared_lib.errors import FailureCode, Rejected
from shared_lib.pipeline.formats import Format, sniff
from shared_lib.pipeline.operations.resize import Resize
from shared_lib.pipeline.output import OutputOptions
from shared_lib.pipeline.recipe import PRESETS, THUMBNAIL, Recipe
from shared_lib.pipeline.sandbox.pool import Sandbox

OPAQUE = {"jpeg": "jpeg", "png": "png", "gif": "png", "webp": "webp", "avif": "jpeg", "tiff": "jpeg", "svg": "png"}
OPAQUE |= {"bmp": "jpeg", "heic": "jpeg", "jxl": "jpeg"}
TRANSPARENT = {"png": "png", "gif": "png", "webp": "webp", "avif": "png", "tiff": "png", "heic": "png", "jxl": "png"}


@pytest.mark.parametrize(("source", "expected"), OPAQUE.items())
def test_browsers_show_the_thumbnail_of_an_opaque_image(sandbox: Sandbox, source: str, expected: str) -> None:
    rendered = sandbox.render(sample(source), [THUMBNAIL])

    (thumbnail,) = rendered.renditions
    assert rendered.format == source
    assert thumbnail.format == expected == sniff(thumbnail.data)
    assert (thumbnail.width, thumbnail.height) == (100, 100)


@pytest.mark.parametrize(("source", "expected"), TRANSPARENT.items())
def test_the_thumbnail_of_a_transparent_image_stays_transparent(sandbox: Sandbox, source: str, expected: str) -> None:
    data = encode(plain(120, 120, 200, 30, 30, 0), source)

    (thumbnail,) = sandbox.render(data, [THUMBNAIL]).renditions

    assert thumbnail.format == expected
    assert decode(thumbnail.data)[-1].max() == 0


def test_transparency_becomes_white_in_a_requested_jpeg(sandbox: Sandbox) -> None:
    recipe = Recipe(name="jpeg", operations=THUMBNAIL.operations, output=OutputOptions(format=Format.JPEG))

    (rendition,) = sandbox.render(encode(plain(120, 120, 200, 30, 30, 0), "png"), [recipe]).renditions

    assert decode(rendition.data).min() >= 254


def test_media_types_and_extensions_are_the_usual_ones() -> None:
    assert [(real.content_type, real.extension) for real in Format] == [
        ("image/jpeg", "jpg"),
        ("image/png", "png"),
        ("image/gif", "gif"),
        ("image/webp", "webp"),
        ("image/svg+xml", "svg"),
        ("image/avif", "avif"),
        ("image/tiff", "tiff"),
        ("image/bmp", "bmp"),
        ("image/heic", "heic"),
        ("image/jxl", "jxl"),
    ]


@pytest.mark.parametrize("name", RASTER_FORMATS)
def test_renditions_come_in_the_order_of_their_recipes(sandbox: Sandbox, name: str) -> None:
    recipes = [Recipe(name=f"w{width}", operations=(Resize(width=width, height=50),)) for width in (300, 20, 100)]

    renditions = sandbox.render(encode(photograph(), name), recipes).renditions

    assert [(r.name, r.width, r.height, r.recipe.hash) for r in renditions] == [
        (recipe.name, width, 50, recipe.hash) for recipe, width in zip(recipes, (300, 20, 100), strict=True)
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_a_rendition_does_not_depend_on_the_other_recipes(sandbox: Sandbox, name: str) -> None:
    data, presets = encode(photograph(), name), list(PRESETS.values())

    together = sandbox.render(data, presets).renditions

    assert [sandbox.render(data, [preset]).renditions[0].data for preset in presets] == [each.data for each in together]


@pytest.mark.parametrize(
    "data",
    [
        b"just text",
        b"%PDF-1.7\n",
        b"BM" + bytes(60),
        b"BM is how this text begins, which has nothing to do with bitmaps.",
        b"8BPS\0\1" + bytes(60),  # Photoshop
        b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),  # JPEG 2000
        b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf" + bytes(60),  # HEIF of another codec
        b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(60),
        b"MATLAB 5.0 MAT-file" + bytes(110),
        b"P6 1 1 255 abc",
        b"push graphic-context\nviewbox 0 0 1 1\nimage over 0,0 0,0 'https://localhost/'",  # ImageMagick's MVG
        b"\x1f\x8b\x08" + bytes(60),  # gzip, so SVGZ too
        b"<html><svg/></html>",
        b"<?xml version='1.0'?><image><read filename='/etc/passwd'/></image>",  # ImageMagick's MSL
        b"\0" * 1000,
        b"\xff\xd8",
    ],
)
def test_other_formats_are_unsupported(sandbox: Sandbox, data: bytes) -> None:
    with pytest.raises(Rejected) as rejection:
        sandbox.render(data, [THUMBNAIL])

    assert rejection.value.failure is FailureCode.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(
    "data",
    [
        tiff(10, 10, (259, 3, 1, 34_925)),  # compressed by LZMA
        sample("jpeg").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),  # 12 bits per channel
    ],
)
def test_rare_kinds_of_a_format_are_unsupported_and_not_called_corrupt(sandbox: Sandbox, data: bytes) -> None:
    with pytest.raises(Rejected) as rejection:
        sandbox.render(data, [THUMBNAIL])

    assert rejection.value.failure is FailureCode.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_detected_from_its_first_64_bytes(name: str) -> None:
    assert sniff(sample(name)[:64]) == name


@pytest.mark.parametrize(("codec", "real"), [(b"hvcC", "heic"), (b"av1C", "avif"), (b"jpgC", None)])
def test_a_generic_heif_container_is_detected_by_its_codec_configuration(codec: bytes, real: str | None) -> None:
    assert sniff(b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf" + bytes(60) + codec) == real


def test_jpeg_xl_is_detected_with_and_without_its_container(sandbox: Sandbox) -> None:
    picture = to_pillow(photograph(60))

    for data in (save(picture, "JXL", use_container=True), save(picture, "JXL", use_container=False)):
        assert sandbox.render(data, [THUMBNAIL]).format == "jxl"


def test_a_jpeg_packed_as_jpeg_xl_is_unpacked(sandbox: Sandbox, tmp_path: Path) -> None:
    jpeg = encode(photograph(60), "jpeg")

    packed = pack_jpeg(jpeg, tmp_path)

    assert b"jbrd" in packed
    assert (
        sandbox.render(packed, [THUMBNAIL]).renditions[0].data == sandbox.render(jpeg, [THUMBNAIL]).renditions[0].data
    )


def _bmp_with_alpha(width: int, height: int, *color: int) -> bytes:
    """Return a bitmap with a BITMAPV4HEADER and a mask for alpha."""
    red, green, blue, alpha = color
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, width, -height, 1, 32, 3, 0, 2835, 2835, 0, 0) + masks + bytes(52)
    pixels = bytes([blue, green, red, alpha]) * (width * height)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(pixels), 0, 0, 14 + len(header)) + header + pixels


def test_a_bitmap_may_be_transparent(sandbox: Sandbox) -> None:
    (thumbnail,) = sandbox.render(_bmp_with_alpha(120, 120, 200, 30, 30, 128), [THUMBNAIL]).renditions

    assert thumbnail.format == "png"
    assert color_at(decode(thumbnail.data), 50, 50) == [200, 30, 30, 128]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_bitmaps_of_every_depth_are_read(sandbox: Sandbox, mode: str) -> None:
    picture = to_pillow(photograph(60)).convert(mode)

    (rendition,) = sandbox.render(
        save(picture, "BMP"), [Recipe(name="x", output=OutputOptions(format=Format.PNG))]
    ).renditions

    original = from_pillow(picture.convert("RGB"))
    assert (decode(rendition.data).colourspace("srgb") - original).abs().max() == 0


def test_an_old_bitmap_header_is_read_too(sandbox: Sandbox) -> None:
    data = b"BM" + struct.pack("<IHHI", 0, 0, 0, 26) + struct.pack("<IHHHH", 12, 2, 2, 1, 24)
    data += (b"\0\0\xff" * 2 + b"\0\0") * 2

    (thumbnail,) = sandbox.render(data, [THUMBNAIL]).renditions

    assert all(abs(a - b) < 3 for a, b in zip(color_at(decode(thumbnail.data), 50, 50), [255, 0, 0], strict=True))


@pytest.mark.parametrize("compression", [4, 5, 99])  # JPEG and PNG, only for printers; and an unknown one
def test_a_bitmap_of_a_rare_kind_is_not_called_corrupt(sandbox: Sandbox, compression: int) -> None:
    data = sample("bmp")

    with pytest.raises(Rejected) as rejection:
        sandbox.render(data[:30] + struct.pack("<I", compression) + data[34:], [THUMBNAIL])

    assert rejection.value.failure is FailureCode.UNSUPPORTED_FORMAT
    assert rejection.value.public == "The BMP image is of a kind that is not read."
