"""Watermarks: their place, size and opacity, and recipes whose watermark cannot be used."""

from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest
import pyvips
from pipeline.pictures import FORMATS, color_at, decode, encode, photograph, plain, sample
from pydantic import ValidationError

from shared_lib.errors import FailureCode, Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.rendition import FailedRecipe
from shared_lib.pipeline.sandbox.pool import Sandbox

LOGO, OTHER = uuid4(), uuid4()
RED, BLUE = [200, 0, 0], [0, 0, 250]


def recipe(*operations: dict[str, Any], name: str = "x", **output: Any) -> Recipe:
    whole = [{"image": str(LOGO), "kind": "watermark", **operation} for operation in operations]
    return read_recipe({"name": name, "operations": whole, "output": {"format": "png", **output}})


def lay(sandbox: Sandbox, image: pyvips.Image, overlay: pyvips.Image, **how: Any) -> pyvips.Image:
    made = sandbox.render(encode(image, "png"), [recipe(how)], {LOGO: encode(overlay, "png")})
    return decode(made.get("x").data)


def find_area(image: pyvips.Image, color: list[int]) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the area that has about this color."""
    near = ((image - color).abs() < 30).bandand()
    left, top, width, height = (near.ifthenelse(255, 0)).find_trim(background=0, threshold=100)
    return left, top, width, height


def test_of_tiles_with_gaps_one_lies_in_the_middle(sandbox: Sandbox) -> None:
    image = lay(sandbox, plain(100, 80, *RED), plain(20, 10, *BLUE), tile=True, gaps=[10, 6])

    assert find_area(image.crop(35, 30, 30, 20), BLUE) == (5, 5, 20, 10)
    assert find_area(image.crop(0, 30, 35, 20), BLUE) == (10, 5, 20, 10)
    assert find_area(image.crop(35, 45, 30, 20), BLUE) == (5, 6, 20, 10)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, (170, 80, 30, 20)),
        ({"gravity": "northwest"}, (0, 0, 30, 20)),
        ({"gravity": "center"}, (85, 40, 30, 20)),
        ({"gravity": "north", "margin": 7}, (85, 7, 30, 20)),
        ({"margin": 7}, (163, 73, 30, 20)),
        ({"gravity": {"x": 0, "y": 1}, "margin": 5}, (5, 75, 30, 20)),
        ({"gravity": {"x": 0.25, "y": 0.5}}, (35, 40, 30, 20)),
        ({"scale": 0.3, "gravity": "west"}, (0, 30, 60, 40)),
        ({"scale": 0.05}, (190, 93, 10, 7)),
        ({"scale": 1, "gravity": "east"}, (50, 0, 150, 100)),
        ({"scale": 1, "margin": 10, "gravity": "west"}, (10, 10, 120, 80)),
        ({"margin": 45, "gravity": "east"}, (140, 45, 15, 10)),
    ],
)
def test_a_watermark_lies_at_its_gravity_and_never_beyond_the_edge(
    sandbox: Sandbox, how: dict[str, Any], expected: tuple[int, ...]
) -> None:
    image = lay(sandbox, plain(200, 100, *RED), plain(30, 20, *BLUE), **how)

    assert (image.width, image.height, image.bands) == (200, 100, 3)
    assert find_area(image, BLUE) == pytest.approx(expected, abs=1)


def test_a_watermark_larger_than_the_image_is_scaled_down(sandbox: Sandbox) -> None:
    image = lay(sandbox, plain(200, 100, *RED), plain(3_000, 6_000, *BLUE), gravity="west")

    assert find_area(image, BLUE) == (0, 0, 50, 100)


def test_margins_without_room_between_them_leave_one_pixel(sandbox: Sandbox) -> None:
    image = lay(sandbox, plain(200, 100, *RED), plain(30, 20, *BLUE), margin=8_000)

    assert (image[2] > 100).avg() == pytest.approx(255 / (200 * 100))


def test_tiles_cover_the_image_with_margins_between_them(sandbox: Sandbox) -> None:
    image = lay(sandbox, plain(200, 100, *RED), plain(30, 20, *BLUE), tile=True, margin=10)

    across = [color_at(image, x, 15) == BLUE for x in (5, 15, 35, 45, 55, 75, 85, 195)]
    assert across == [False, True, True, False, True, True, False, True]
    assert color_at(image, 199, 79) == BLUE  # cut where the image ends
    assert color_at(image, 20, 35) == RED


@pytest.mark.parametrize(
    ("below", "overlay", "expected"),
    [
        ([100], [200], [150]),
        ([100], [200, 128], [125]),
        ([100], [0, 0, 200], [50, 50, 150]),
        ([100, 200], [200], [156, 228]),
        ([100, 100, 200], [200], [150, 150, 200]),
        ([100, 100, 200], [0, 0, 200, 128], [75, 75, 200]),
        ([100, 100, 100, 0], [0, 0, 200], [0, 0, 200, 128]),
    ],
)
def test_half_opacity_mixes_both_images_equally(
    sandbox: Sandbox, below: list[int], overlay: list[int], expected: list[int]
) -> None:
    image = lay(sandbox, plain(40, 40, *below), plain(40, 40, *overlay), opacity=0.5)

    assert color_at(image, 20, 20) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("how", [{"opacity": 0}, {"opacity": 0, "tile": True}])
@pytest.mark.parametrize("alpha", [False, True])
def test_opacity_0_changes_nothing(sandbox: Sandbox, how: dict[str, Any], alpha: bool) -> None:
    image = photograph(90)
    image = image.bandjoin((image[1] / 2 + 100).cast("uchar")) if alpha else image

    assert (lay(sandbox, image, plain(40, 40, *BLUE), **how) - image).abs().max() == 0


def test_soft_edges_of_a_watermark_have_no_dark_fringe(sandbox: Sandbox) -> None:
    disc = b'<svg xmlns="http://www.w3.org/2000/svg" width="90" height="90"><circle cx="45" cy="45" r="40"/></svg>'
    soft = pyvips.Image.svgload_buffer(disc)[3].gaussblur(4)
    white = plain(90, 90, 255, 255, 255).ifthenelse(255, 0).cast("uchar")
    hidden = (soft > 0).ifthenelse(white, 0).cast("uchar").copy(interpretation="srgb").bandjoin(soft)  # black outside

    image = lay(sandbox, plain(60, 60, 255, 255, 255), hidden, scale=0.5)

    assert image.min() >= 252


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_of_any_format_can_be_a_watermark(sandbox: Sandbox, name: str) -> None:
    made = sandbox.render(encode(plain(200, 200, 9, 9, 9), "png"), [recipe({"scale": 0.5})], {LOGO: sample(name)})

    image = decode(made.get("x").data)
    assert image.crop(100, 200 - 66, 100, 60).deviate() > 20
    assert image.crop(0, 0, 95, 200).max() == 9


def test_an_svg_watermark_is_drawn_at_its_final_size(sandbox: Sandbox) -> None:
    halves = b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><path d="M0 0h5v10H0z"/></svg>'

    made = sandbox.render(encode(plain(1_000, 1_000, 255), "png"), [recipe({"scale": 1})], {LOGO: halves})

    image = decode(made.get("x").data)
    assert color_at(image, 497, 500) == [0, 0, 0]
    assert color_at(image, 502, 500) == [255, 255, 255]  # enlarged, it would be gray for a hundred px


def test_a_watermark_with_an_orientation_lies_upright(sandbox: Sandbox) -> None:
    sideways = plain(40, 20, *RED).insert(plain(20, 20, *BLUE), 0, 0).copy()
    sideways.set_type(pyvips.GValue.gint_type, "orientation", 6)  # turned right for display
    data = sideways.jpegsave_buffer(Q=100, subsample_mode="off")

    made = sandbox.render(
        encode(plain(100, 100, 255, 255, 255), "png"), [recipe({"gravity": "northwest"})], {LOGO: data}
    )

    image = decode(made.get("x").data)
    assert find_area(image, BLUE) == (0, 0, 20, 20)
    assert find_area(image, RED) == (0, 20, 20, 20)


def test_the_colors_of_a_watermark_are_converted_to_srgb(sandbox: Sandbox) -> None:
    cmyk = plain(40, 40, *BLUE).icc_transform("cmyk", input_profile="srgb")

    made = sandbox.render(
        encode(plain(40, 40, 255, 255, 255), "png"), [recipe({})], {LOGO: cmyk.jpegsave_buffer(Q=100)}
    )

    image = decode(made.get("x").data)
    red, _, blue = color_at(image, 20, 20)
    assert blue > red + 60
    assert image.bands == 3


def test_the_first_frame_of_a_watermark_lies_on_every_frame(sandbox: Sandbox) -> None:
    frames = pyvips.Image.arrayjoin([plain(60, 40, 50 * n, 100, 100) for n in range(4)], across=1).copy()
    frames.set_type(pyvips.GValue.gint_type, "page-height", 40)
    moving = pyvips.Image.arrayjoin([plain(10, 10, *BLUE), plain(10, 10, *RED)], across=1).copy()
    moving.set_type(pyvips.GValue.gint_type, "page-height", 10)

    made = sandbox.render(
        frames.gifsave_buffer(),
        [recipe({"margin": 2}, format="gif", animation="keep")],
        {LOGO: moving.gifsave_buffer()},
    )

    image = pyvips.Image.new_from_buffer(made.get("x").data, "", n=-1).flatten().copy_memory()
    assert image.get("n-pages") == 4
    assert [color_at(image, 52, 40 * n + 32)[2] > 200 for n in range(4)] == [True] * 4
    assert [color_at(image, 10, 40 * n + 10)[2] < 150 for n in range(4)] == [True] * 4


def test_watermarks_are_laid_on_each_other_in_order(sandbox: Sandbox) -> None:
    both = recipe({"scale": 1, "image": str(OTHER)}, {"scale": 0.5}, {"scale": 0.1, "image": str(OTHER)})

    made = sandbox.render(
        encode(plain(100, 100, 255), "png"),
        [both],
        {LOGO: encode(plain(9, 9, *BLUE), "png"), OTHER: encode(plain(8, 8, *RED), "png")},
    )

    image = decode(made.get("x").data)
    assert both.overlays == (OTHER, LOGO)
    assert [color_at(image, at, at) for at in (20, 70, 95)] == [RED, BLUE, RED]


def render_failing(
    sandbox: Sandbox, overlays: dict[UUID, bytes], *recipes: Recipe, data: bytes | None = None
) -> tuple[FailedRecipe, ...]:
    """Return the recipes that failed. A thumbnail is made nevertheless."""
    made = sandbox.render(data or sample("jpeg"), [*recipes, THUMBNAIL], overlays)
    assert [rendition.name for rendition in made.renditions] == ["thumbnail"]
    return made.failed


def damage(data: bytes) -> bytes:
    """Overwrite the middle, so that only decoding finds it."""
    middle = len(data) // 2
    return data[:middle] + bytes(500) + data[middle + 500 :]


def test_only_the_recipe_with_a_missing_watermark_fails(sandbox: Sandbox) -> None:
    (failed,) = render_failing(sandbox, {OTHER: sample("png")}, recipe({}))

    assert failed.reason.failure is FailureCode.WATERMARK_MISSING
    assert str(LOGO) in failed.reason.public


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", FailureCode.EMPTY_FILE),
        (b"nonsense", FailureCode.UNSUPPORTED_FORMAT),
        (sample("jpeg")[:-2_000], FailureCode.CORRUPT_IMAGE),
        (sample("png")[:-2_000], FailureCode.CORRUPT_IMAGE),
        (sample("webp")[:-2_000], FailureCode.CORRUPT_IMAGE),
        (sample("tiff")[:-2_000], FailureCode.CORRUPT_IMAGE),
        (damage(sample("png")), FailureCode.CORRUPT_IMAGE),
        (plain(31_000, 1, 0).pngsave_buffer(), FailureCode.SIDE_TOO_LONG),
        (b'<!DOCTYPE svg [<!ENTITY a SYSTEM "a">]><svg xmlns="http://www.w3.org/2000/svg"/>', FailureCode.UNSAFE_SVG),
    ],
)
def test_only_the_recipe_with_a_rejected_watermark_fails(sandbox: Sandbox, data: bytes, code: FailureCode) -> None:
    (failed,) = render_failing(sandbox, {LOGO: data}, recipe({}))

    assert failed.reason.failure is code
    assert str(LOGO) in failed.reason.public


def test_an_image_and_its_watermarks_share_the_limit_of_pixels() -> None:
    both = recipe({}, {"image": str(OTHER)})
    overlays = {LOGO: plain(300, 100, 1).pngsave_buffer(), OTHER: plain(100, 300, 1).pngsave_buffer()}
    with closing(Sandbox(Limits(max_pixels=70_000), workers=1)) as sandbox:
        (failed,) = render_failing(sandbox, overlays, both, data=plain(100, 101, 1).pngsave_buffer())
        assert sandbox.render(plain(100, 100, 1).pngsave_buffer(), [both], overlays).failed == ()

    assert failed.reason.failure is FailureCode.TOO_MANY_PIXELS
    assert "70,100" in failed.reason.public


def test_an_image_and_its_watermarks_share_the_limit_of_bytes() -> None:
    data, logo = sample("jpeg"), sample("png")
    with closing(Sandbox(Limits(max_bytes=len(data) + len(logo)), workers=1)) as sandbox:
        assert sandbox.render(data, [recipe({})], {LOGO: logo}).failed == ()
        with pytest.raises(Rejected) as error:
            sandbox.render(data, [recipe({})], {LOGO: logo + b" "})

    assert error.value.failure is FailureCode.FILE_TOO_LARGE


def test_a_recipe_has_at_most_four_watermark_images() -> None:
    def with_images(number: int) -> Recipe:
        return recipe(*({"image": str(UUID(int=n))} for n in range(number)), *({"opacity": 0.1} for _ in range(3)))

    assert len(with_images(3).overlays) == 4
    with pytest.raises(ValidationError, match="at most 4"):
        with_images(4)
