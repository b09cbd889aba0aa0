"""The real type decides, whatever the file is called; and each format's thumbnail is one that every browser shows."""

import pytest
import pyvips
from hostile.bombs import tiff
from pipeline.pictures import FORMATS, RASTER_FORMATS, encode, photograph, plain, sample

from shared_lib.errors import FailureCode, Rejected
from shared_lib.pipeline import THUMBNAIL, DecoderBox, Recipe
from shared_lib.pipeline.formats import Format, sniff
from shared_lib.pipeline.recipe import PRESETS, Output

OPAQUE = {"jpeg": "jpeg", "png": "png", "gif": "png", "webp": "webp", "avif": "jpeg", "tiff": "jpeg", "svg": "png"}
TRANSPARENT = {"png": "png", "gif": "png", "webp": "webp", "avif": "png", "tiff": "png"}


@pytest.mark.parametrize(("source", "expected"), OPAQUE.items())
def test_the_thumbnail_of_an_opaque_image(box: DecoderBox, source: str, expected: str) -> None:
    rendered = box.render(sample(source), [THUMBNAIL])

    (thumbnail,) = rendered.renditions
    assert rendered.format == source
    assert thumbnail.format == expected == sniff(thumbnail.data)
    assert (thumbnail.width, thumbnail.height) == (100, 100)


@pytest.mark.parametrize(("source", "expected"), TRANSPARENT.items())
def test_the_thumbnail_of_a_transparent_image_stays_transparent(box: DecoderBox, source: str, expected: str) -> None:
    data = encode(plain(120, 120, 200, 30, 30, 0), source)

    (thumbnail,) = box.render(data, [THUMBNAIL]).renditions

    assert thumbnail.format == expected
    assert pyvips.Image.new_from_buffer(thumbnail.data, "")[-1].max() == 0


def test_a_transparent_image_asked_for_as_jpeg_turns_white(box: DecoderBox) -> None:
    recipe = Recipe(name="jpeg", operations=THUMBNAIL.operations, output=Output(format=Format.JPEG))

    (rendition,) = box.render(encode(plain(120, 120, 200, 30, 30, 0), "png"), [recipe]).renditions

    assert pyvips.Image.new_from_buffer(rendition.data, "").min() >= 254


def test_media_types_and_extensions_are_the_usual_ones() -> None:
    assert [(real.content_type, real.extension) for real in Format] == [
        ("image/jpeg", "jpg"),
        ("image/png", "png"),
        ("image/gif", "gif"),
        ("image/webp", "webp"),
        ("image/avif", "avif"),
        ("image/tiff", "tiff"),
        ("image/svg+xml", "svg"),
    ]


@pytest.mark.parametrize("name", RASTER_FORMATS)
def test_several_renditions_come_in_the_order_they_were_asked_for(box: DecoderBox, name: str) -> None:
    recipes = [
        Recipe(name=f"w{width}", operations=({"kind": "resize", "width": width, "height": 50},))
        for width in (300, 20, 100)
    ]

    renditions = box.render(encode(photograph(), name), recipes).renditions

    assert [(r.name, r.width, r.height, r.recipe_hash) for r in renditions] == [
        (recipe.name, width, 50, recipe.hash) for recipe, width in zip(recipes, (300, 20, 100), strict=True)
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_no_rendition_depends_on_what_else_is_asked_for(box: DecoderBox, name: str) -> None:
    data, presets = encode(photograph(), name), list(PRESETS.values())

    together = box.render(data, presets).renditions

    assert [box.render(data, [preset]).renditions[0].data for preset in presets] == [each.data for each in together]


@pytest.mark.parametrize(
    "data",
    [
        b"just text",
        b"%PDF-1.7\n",
        b"BM" + bytes(60),
        b"8BPS\0\1" + bytes(60),  # Photoshop
        b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),  # JPEG 2000
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(60),
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
def test_anything_else_is_unsupported(box: DecoderBox, data: bytes) -> None:
    with pytest.raises(Rejected) as refusal:
        box.render(data, [THUMBNAIL])

    assert refusal.value.failure is FailureCode.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(
    "data",
    [
        tiff(10, 10, (259, 3, 1, 34_925)),  # compressed by LZMA
        sample("jpeg").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),  # 12 bits a channel
    ],
)
def test_rare_kinds_of_a_format_are_unsupported_and_not_called_corrupt(box: DecoderBox, data: bytes) -> None:
    with pytest.raises(Rejected) as refusal:
        box.render(data, [THUMBNAIL])

    assert refusal.value.failure is FailureCode.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("name", FORMATS)
def test_sniffing_needs_no_more_than_the_first_bytes(name: str) -> None:
    assert sniff(sample(name)[:64]) == name
