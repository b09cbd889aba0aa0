"""Every output option has its effect where it applies, and is invalid where it does not."""

import io
from typing import Any

import pytest
import pyvips
from PIL import Image
from pipeline.pictures import decode, encode, photograph, plain, save
from pydantic import ValidationError

from shared_lib.errors import Rejected
from shared_lib.pipeline.formats import WRITTEN, Format, sniff
from shared_lib.pipeline.recipe import PRESETS, THUMBNAIL
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.rendition import Rendition
from shared_lib.pipeline.sandbox.pool import Sandbox

LOSSY = [form for form in WRITTEN if form.info.quality]


def with_option(option: str) -> list[Format]:
    return [form for form in WRITTEN if option in (form.info.options or ())]


def rendition(sandbox: Sandbox, image: pyvips.Image | bytes, **output: Any) -> Rendition:  # validated
    recipe = read_recipe({"name": "x", "output": output})
    data = image if isinstance(image, bytes) else encode(image, "png")
    return sandbox.render(data, [recipe]).get("x")


def distance(data: bytes, original: pyvips.Image) -> float:
    """Return the mean CIEDE2000."""
    image = decode(data)
    image = image.flatten() if image.hasalpha() else image
    return float(image.colourspace("lab").dE00(original.colourspace("lab")).avg())


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_every_format_can_be_requested(sandbox: Sandbox, name: str, bands: int) -> None:
    made = rendition(sandbox, plain(40, 30, *[200, 180, 90, 255][:bands]), format=name)

    assert made.format == name == sniff(made.data)
    assert (decode(made.data).width, made.width) == (40, 40)


@pytest.mark.parametrize("name", ["png", "tiff"])
def test_png_and_tiff_change_no_pixel(sandbox: Sandbox, name: str) -> None:
    assert distance(rendition(sandbox, photograph(), format=name).data, photograph()) == 0


@pytest.mark.parametrize("name", with_option("lossless"))
def test_lossless_output_changes_no_pixel(sandbox: Sandbox, name: str) -> None:
    assert distance(rendition(sandbox, photograph(200), format=name, lossless=True).data, photograph(200)) < 0.01


@pytest.mark.parametrize("name", LOSSY)
def test_higher_quality_takes_more_bytes_and_differs_less(sandbox: Sandbox, name: str) -> None:
    poor, usual, good = (
        rendition(sandbox, photograph(300), format=name, **q).data for q in ({"quality": 20}, {}, {"quality": 95})
    )

    assert len(poor) < len(usual) < len(good)
    assert distance(poor, photograph(300)) > distance(usual, photograph(300)) > distance(good, photograph(300))
    assert distance(usual, photograph(300)) < 2.5


@pytest.mark.parametrize("name", with_option("max_bytes"))
@pytest.mark.parametrize("most", [4_000, 9_000])
def test_max_bytes_is_nearly_reached_and_never_exceeded(sandbox: Sandbox, name: str, most: int) -> None:
    made = rendition(sandbox, photograph(300), format=name, maxBytes=most, quality=98)

    assert most * 0.85 < len(made.data) <= most


def test_quality_is_1_if_max_bytes_is_below_every_quality(sandbox: Sandbox) -> None:
    smallest = rendition(sandbox, photograph(), format="jpeg", quality=1)

    assert rendition(sandbox, photograph(), format="jpeg", maxBytes=1_000).data == smallest.data


def test_a_large_max_bytes_leaves_quality_unchanged(sandbox: Sandbox) -> None:
    usual = rendition(sandbox, photograph(), format="jpeg")

    assert rendition(sandbox, photograph(), format="jpeg", maxBytes=1_000_000).data == usual.data


def test_a_recipe_that_exceeds_a_limit_does_not_affect_the_others(sandbox: Sandbox) -> None:
    huge = read_recipe({"name": "huge", "operations": [{"kind": "resize", "width": 8192, "height": 8192}]})

    rendered = sandbox.render(encode(photograph(), "jpeg"), [THUMBNAIL, huge, PRESETS["small"]])

    assert [each.name for each in rendered.renditions] == ["thumbnail", "small"]
    with pytest.raises(Rejected, match="8,192 x 8,192"):
        rendered.get("huge")


def test_progressive_and_chroma_subsampling_reach_the_encoder(sandbox: Sandbox) -> None:
    baseline = rendition(sandbox, photograph(), format="jpeg").data
    progressive = rendition(sandbox, photograph(), format="jpeg", progressive=True).data
    sharp = rendition(sandbox, photograph(), format="jpeg", chromaSubsampling="4:4:4").data

    assert (b"\xff\xc0" in baseline, b"\xff\xc2" in progressive) == (True, True)
    assert decode(baseline).get("jpeg-chroma-subsample") == "4:2:0"
    assert decode(sharp).get("jpeg-chroma-subsample") == "4:4:4"


@pytest.mark.parametrize("name", with_option("colors"))
@pytest.mark.parametrize("colors", [2, 4, 16])
def test_a_palette_has_at_most_the_requested_number_of_colors(sandbox: Sandbox, name: str, colors: int) -> None:
    made = rendition(sandbox, photograph(60), format=name, colors=colors)

    pixels = decode(made.data)[:3]
    assert 2 <= len({tuple(pixels.getpoint(x, y)) for x in range(60) for y in range(pixels.height)}) <= colors


def test_a_large_jpeg_with_empty_areas_has_huffman_tables_of_its_own(sandbox: Sandbox) -> None:
    on_white = photograph(600).embed(300, 200, 1200, 900, extend="background", background=[255, 255, 255])

    usual, thorough = (rendition(sandbox, on_white, format="jpeg", effort=effort).data for effort in (5, 7))

    assert usual == thorough


def test_a_large_jpeg_uses_max_bytes_as_well_as_higher_effort_does(sandbox: Sandbox) -> None:
    large = photograph(600).resize(2)

    made = rendition(sandbox, large, format="jpeg", maxBytes=20_000).data

    assert 17_000 < len(made) <= 20_000
    assert len(made) == len(rendition(sandbox, large, format="jpeg", maxBytes=20_000, effort=7).data)


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "jxl"])
def test_effort_saves_bytes(sandbox: Sandbox, name: str) -> None:
    image = photograph(600).resize(1.5)
    least, most = (rendition(sandbox, image, format=name, effort=effort).data for effort in (1, 7))

    assert len(most) < len(least)


def test_auto_is_lossy_for_a_photograph_and_lossless_for_a_drawing(sandbox: Sandbox) -> None:
    drawing = plain(200, 200, 255, 255, 255).insert(plain(50, 50, 200, 0, 0), 30, 30)

    assert b"VP8 " in rendition(sandbox, photograph(), format="auto").data
    assert b"VP8L" in rendition(sandbox, drawing, format="auto").data


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:Headline="news"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def _with_metadata(name: str = "jpeg") -> bytes:
    image = photograph(100)
    for field, text in (("ifd0-Artist", "somebody"), ("ifd0-Copyright", "all mine"), ("ifd0-Make", "camera")):
        image.set_type(pyvips.GValue.gstr_type, f"exif-{field}", f"{text} ({text}, ASCII, {len(text) + 1} components)")
    image.set_type(pyvips.GValue.blob_type, "xmp-data", XMP)
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    data: bytes = image.jpegsave_buffer()
    if name == "jpeg":
        return data
    form, options = {"avif": ("AVIF", {}), "heic": ("HEIF", {}), "jxl": ("JXL", {"num_threads": 0})}[name]
    with Image.open(io.BytesIO(data)) as jpeg:
        exif = bytes(4) * (name == "jxl") + jpeg.info["exif"][6 * (name == "jxl") :]
        return save(jpeg, form, exif=exif, xmp=jpeg.info["xmp"], **options)


@pytest.mark.parametrize("source", ["avif", "heic", "jxl"])
@pytest.mark.parametrize(
    ("metadata", "expected"),
    [("strip", set()), ("copyright", {"Artist", "Copyright"}), ("keep", {"Artist", "Copyright", "Make"})],
)
def test_metadata_of_avif_heic_and_jpeg_xl_is_kept_as_requested(
    sandbox: Sandbox, source: str, metadata: str, expected: set[str]
) -> None:
    image = decode(rendition(sandbox, _with_metadata(source), format="jpeg", metadata=metadata).data)

    fields = {field.removeprefix("exif-ifd0-") for field in image.get_fields()}
    assert fields & {"Artist", "Copyright", "Make"} == expected
    assert bool(image.get_typeof("xmp-data")) == (metadata == "keep")
    assert image.get_typeof("orientation") == 0 or image.get("orientation") == 1


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "avif", "jxl"])
@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("strip", set()),
        ("copyright", {b"somebody", b"all mine"}),
        ("keep", {b"somebody", b"all mine", b"camera", b"news"}),
    ],
)
def test_metadata_is_kept_as_requested(sandbox: Sandbox, name: str, metadata: str, expected: set[bytes]) -> None:
    made = rendition(sandbox, _with_metadata(), format=name, metadata=metadata)

    image = decode(made.data)
    text = made.data + (image.get("xmp-data") if image.get_typeof("xmp-data") else b"")  # which PNG compresses
    assert {word for word in (b"somebody", b"all mine", b"camera", b"news") if word in text} == expected
    assert image.height == 100, "upright already, so it must not say that it lies on its side"
    assert image.get_typeof("orientation") == 0 or image.get("orientation") == 1


def test_no_embedded_preview_is_kept(sandbox: Sandbox) -> None:
    image = photograph(100)
    image.set_type(pyvips.GValue.blob_type, "jpeg-thumbnail-data", plain(20, 20, 1, 2, 3).jpegsave_buffer())

    made = rendition(sandbox, image.jpegsave_buffer(), metadata="keep")

    assert made.data.count(b"\xff\xd8\xff") == 1


@pytest.mark.parametrize("name", [form for form in with_option("profile") if form is not Format.GIF])
def test_a_wide_gamut_can_be_kept(sandbox: Sandbox, name: str) -> None:
    wide = plain(60, 60, 30, 220, 40).icc_transform("p3", input_profile="srgb")

    made = rendition(
        sandbox, wide.tiffsave_buffer(), format=name, profile="keep", **{"quality": 95} if name == "avif" else {}
    )

    image = decode(made.data)
    assert image.get("icc-profile-data") == wide.get("icc-profile-data")
    assert all(abs(a - b) < 5 for a, b in zip(image.getpoint(30, 30), wide.getpoint(30, 30), strict=True))


@pytest.mark.parametrize(
    "output",
    [
        {"format": "png", "quality": 50},
        {"format": "jpeg", "lossless": True},
        {"format": "webp", "progressive": True},
        {"format": "gif", "chromaSubsampling": "4:4:4"},
        {"format": "jpeg", "colors": 16},
        {"format": "tiff", "maxBytes": 5_000},
        {"format": "webp", "lossless": True, "quality": 50},
        {"format": "webp", "lossless": True, "maxBytes": 5_000},
        {"format": "jxl", "progressive": True},
        {"format": "jxl", "profile": "keep"},
        {"format": "svg"},
        {"format": "heic"},
        {"format": "jpeg", "quality": 0},
        {"effort": 11},
        {"colors": 1},
        {"maxbytes": 5_000},
    ],
)
def test_options_that_exclude_one_another_are_invalid(output: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as error:
        read_recipe({"name": "x", "output": output})

    assert error.value.errors()[0]["loc"][0] == "output"


@pytest.mark.parametrize("option", [{"quality": 50}, {"lossless": True}, {"progressive": True}, {"colors": 16}])
@pytest.mark.parametrize("source", ["jpeg", "png", "webp", "gif"])
def test_options_that_the_format_of_the_source_lacks_are_ignored(
    sandbox: Sandbox, option: dict[str, Any], source: str
) -> None:
    assert rendition(sandbox, encode(photograph(60), source), **option).width == 60


def test_the_name_of_a_written_format_is_its_media_type() -> None:
    assert {form.content_type for form in WRITTEN} == {f"image/{form}" for form in WRITTEN}
