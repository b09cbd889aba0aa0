"""Renditions have exactly the requested size, are not distorted, keep the middle, and are upright."""

from pathlib import Path
from typing import Any

import pytest
import pyvips
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from pipeline.pictures import (
    RASTER_FORMATS,
    color_at,
    decode,
    encode,
    pack_jpeg,
    photograph,
    plain,
    save,
    to_pillow,
)

from shared_lib.pipeline.operations.resize import Resize
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.sandbox.pool import Sandbox

SIDES = st.one_of(st.integers(1, 12), st.integers(90, 110), st.integers(1, 700))


@settings(max_examples=120, deadline=None)
@given(width=SIDES, height=SIDES, bands=st.integers(1, 4), name=st.sampled_from(["png", "png", "jpeg", "webp", "tiff"]))
def test_the_thumbnail_of_any_image_is_exactly_100_by_100(
    sandbox: Sandbox, width: int, height: int, bands: int, name: str
) -> None:
    image = plain(width, height, *[200, 100, 50, 255][:bands])

    rendered = sandbox.render(encode(image, name), [THUMBNAIL])

    assert (rendered.width, rendered.height) == (width, height)
    thumbnail = decode(rendered.renditions[0].data)
    assert (thumbnail.width, thumbnail.height) == (100, 100)


@settings(max_examples=60, deadline=None)
@given(width=SIDES, height=SIDES, to_width=st.integers(1, 300), to_height=st.integers(1, 300))
def test_a_cover_of_any_size_has_exactly_that_size(
    sandbox: Sandbox, width: int, height: int, to_width: int, to_height: int
) -> None:
    recipe = Recipe(name="any", operations=(Resize(width=to_width, height=to_height),))

    (rendition,) = sandbox.render(encode(plain(width, height, 9, 99, 200), "png"), [recipe]).renditions

    image = decode(rendition.data)
    assert (image.width, image.height) == (to_width, to_height)
    assert color_at(image, to_width // 2, to_height // 2) == [9, 99, 200]


@settings(max_examples=100, deadline=None)
@given(
    width=st.integers(120, 2000),
    height=st.integers(120, 2000),
    side=st.integers(1, 300),
    fit=st.sampled_from(["inside", "outside", "fill"]),
    name=st.sampled_from(["jpeg", "webp", "avif", "png"]),
)
@example(width=1, height=40, side=1, fit="inside", name="jpeg")
def test_a_size_follows_from_the_original_whatever_a_decoder_leaves_out(  # noqa: PLR0913, PLR0917  what it depends on
    sandbox: Sandbox, width: int, height: int, side: int, fit: Any, name: str
) -> None:
    recipe = Recipe(name="any", operations=(Resize(width=side, height=side, fit=fit),))

    (made,) = sandbox.render(encode(plain(width, height, 9, 99, 200), name), [recipe]).renditions

    scales = side / width, side / height
    across, down = {"inside": [min(scales)] * 2, "outside": [max(scales)] * 2, "fill": scales}[fit]
    assert (made.width, made.height) == (max(1, round(width * across)), max(1, round(height * down)))


@pytest.mark.parametrize(("size", "width", "expected"), [((9000, 300), 800, 27), ((3000, 1999), 320, 213)])
@pytest.mark.parametrize("name", ["jpeg", "png", "webp"])
def test_a_height_is_rounded_from_the_originals(
    sandbox: Sandbox, size: tuple[int, int], width: int, expected: int, name: str
) -> None:
    recipe = Recipe(name="any", operations=(Resize(width=width, fit="inside"),))

    (made,) = sandbox.render(encode(plain(*size, 9, 99, 200), name), [recipe]).renditions

    assert (made.width, made.height) == (width, expected)


@pytest.mark.parametrize("fit", [None, "cover", "contain", "fill", "inside", "outside"])
@pytest.mark.parametrize(
    ("side", "expected"), [({"width": 30}, (30, 20)), ({"height": 30}, (45, 30)), ({"width": 120}, (120, 80))]
)
def test_the_other_side_follows_from_width_or_height_alone(
    sandbox: Sandbox, fit: str | None, side: dict[str, int], expected: tuple[int, int]
) -> None:
    operation = {"kind": "resize", **side, **({"fit": fit} if fit else {})}
    recipe = read_recipe({"name": "x", "operations": [operation]})

    (rendition,) = sandbox.render(encode(plain(60, 40, 9, 99, 200), "png"), [recipe]).renditions

    image = decode(rendition.data)
    assert (image.width, image.height) == expected
    assert (image.min(), image.max()) == (9, 200)


@pytest.mark.parametrize("size", [(1, 30_000), (30_000, 1), (2, 20_001), (29_999, 3)])
@pytest.mark.parametrize("gravity", ["center", "smart", "southeast"])
def test_a_strip_of_the_longest_side_can_be_covered(sandbox: Sandbox, size: tuple[int, int], gravity: str) -> None:
    recipe = read_recipe(
        {"name": "x", "operations": [{"kind": "resize", "width": 100, "height": 100, "gravity": gravity}]}
    )

    (thumbnail,) = sandbox.render(encode(plain(*size, 10, 20, 30), "png"), [recipe]).renditions

    assert color_at(decode(thumbnail.data), 50, 50) == [10, 20, 30]


@pytest.mark.parametrize("name", RASTER_FORMATS)
@pytest.mark.parametrize("upright", [False, True])
def test_a_thumbnail_keeps_the_middle_in_the_middle(sandbox: Sandbox, name: str, *, upright: bool) -> None:
    """A square of 200 px in the middle of a 1,000 x 400 strip becomes the middle half of the thumbnail."""
    image = plain(1000, 400, 0, 0, 255).insert(plain(200, 200, 255, 0, 0), 400, 100)
    image = image.rot90() if upright else image

    (thumbnail,) = sandbox.render(encode(image, name), [THUMBNAIL]).renditions

    red = decode(thumbnail.data)[0] > 128
    columns, rows = red.project()
    assert [round(value / 255) for value in (columns.getpoint(50, 0)[0], rows.getpoint(0, 50)[0])] == [50, 50]
    left, top, width, height = (red.copy(interpretation="b-w")).find_trim(threshold=10, background=0)
    assert (left, top, width, height) == (25, 25, 50, 50)


UNDO = {
    1: lambda i: i,
    2: lambda i: i.fliphor(),
    3: lambda i: i.rot180(),
    4: lambda i: i.flipver(),
    5: lambda i: i.rot90().fliphor(),
    6: lambda i: i.rot270(),
    7: lambda i: i.rot270().fliphor(),
    8: lambda i: i.rot90(),
}


def _marked(orientation: int, name: str, folder: Path) -> bytes:
    """Store pixels as the orientation says. Upright, they are red at the top left and green at the top right."""
    upright = plain(120, 80, 128, 128, 128)
    upright = upright.insert(plain(40, 40, 255, 0, 0), 0, 0).insert(plain(40, 40, 0, 255, 0), 80, 0)
    stored = UNDO[orientation](upright).copy()
    stored.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    if name in {"jpeg", "png", "tiff", "webp"}:
        return encode(stored, name)
    if name == "avif":
        return save(to_pillow(stored), "AVIF", exif=_exif(orientation))  # written as irot and imir
    if name == "heic":  # the same, and EXIF says it a second time
        return save(to_pillow(stored), "HEIF", quality=95, chroma=444, exif=_exif(orientation))
    packed = pack_jpeg(encode(stored, "jpeg"), folder)  # its orientation is the codestream's too
    if name == "jxl":
        packed = packed.replace(b"jbrd", b"skip")  # without it nothing can tell that it was a JPEG
    return packed


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["jpeg", "png", "tiff", "webp", "avif", "heic", "jxl", "jxl from jpeg"])
@pytest.mark.parametrize("metadata", ["strip", "keep"])
def test_a_rendition_is_upright_and_carries_no_orientation(
    sandbox: Sandbox, orientation: int, name: str, metadata: str, tmp_path: Path
) -> None:
    recipe = read_recipe(
        {
            "name": "half",
            "operations": [{"kind": "resize", "width": 60, "height": 40}],
            "output": {"format": "png", "metadata": metadata},
        }
    )

    rendered = sandbox.render(_marked(orientation, name, tmp_path), [recipe])

    image = decode(rendered.renditions[0].data)
    assert (rendered.width, rendered.height) == (120, 80)
    assert image.get_typeof("orientation") == 0 or image.get("orientation") == 1
    corners = [color_at(image, x, y) for x, y in ((8, 8), (52, 8), (8, 32), (52, 32))]
    expected = [[255, 0, 0], [0, 255, 0], [128, 128, 128], [128, 128, 128]]
    assert all(
        abs(value - wanted) < 12
        for corner, color in zip(corners, expected, strict=True)
        for value, wanted in zip(corner, color, strict=True)
    )


def test_an_orientation_that_exif_does_not_define_is_ignored(sandbox: Sandbox) -> None:
    image = photograph(50)
    image.set_type(pyvips.GValue.gint_type, "orientation", 9)

    rendered = sandbox.render(image.jpegsave_buffer(), [THUMBNAIL])

    assert rendered.width == 50
