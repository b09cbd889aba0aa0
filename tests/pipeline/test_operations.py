"""Every operation looks like its golden images, keeps within its limits, and rejects invalid parameters."""

from typing import Any
from uuid import UUID

import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline.golden import assert_looks_like_golden
from pipeline.pictures import GOLDEN, color_at, decode, encode, photograph, plain
from pydantic import TypeAdapter, ValidationError

from shared_lib.errors import FailureCode, Rejected
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.operations import OPERATIONS, Operation
from shared_lib.pipeline.recipe import PRESETS, Recipe
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.sandbox.pool import Sandbox

LOGO = "0b54d0c4-6bb1-4a0f-8e46-1d4ac5a3d0c8"
PATCH = "7f2b9e0a-52a3-4d0c-9c54-0f3b6f1d2a11"
OVERLAYS = {
    UUID(LOGO): b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="24">'
    b'<ellipse cx="20" cy="12" rx="18" ry="10" fill="#06c" fill-opacity=".8" stroke="#fff" stroke-width="2"/></svg>',
    # A frame 6 px wide, with a corner that is not stretched, and marks around it.
    UUID(PATCH): b'<svg xmlns="http://www.w3.org/2000/svg" width="24" height="24">'
    b'<path fill="#a40" d="M1 1h22v22h-22zM7 7v10h10v-10z" fill-rule="evenodd"/>'
    b'<circle cx="5" cy="5" r="4" fill="#fc0"/>'
    b'<path d="M10 0h4v1h-4zM0 10h1v4h-1zM5 23h14v1h-14zM23 5h1v14h-1z"/></svg>',
}
EXAMPLES: dict[str, dict[str, Any]] = {
    "resize-cover-northwest": {"kind": "resize", "width": 60, "height": 60, "gravity": "northwest"},
    "resize-cover-focus": {"kind": "resize", "width": 40, "height": 60, "gravity": {"x": 0.8, "y": 0.5}},
    "resize-cover-smart": {"kind": "resize", "width": 40, "height": 60, "gravity": "smart"},
    "resize-contain": {"kind": "resize", "width": 60, "height": 60, "fit": "contain", "background": "#336699"},
    "resize-fill": {"kind": "resize", "width": 40, "height": 80, "fit": "fill"},
    "resize-inside": {"kind": "resize", "width": 60, "height": 60, "fit": "inside"},
    "resize-outside": {"kind": "resize", "width": 60, "height": 60, "fit": "outside"},
    "resize-linear": {"kind": "resize", "width": 30, "height": 20, "linear": True},
    "crop": {"kind": "crop", "left": 20, "top": 10, "width": 50, "height": 30},
    "cropToRatio": {"kind": "cropToRatio", "width": 1, "height": 2, "gravity": "east"},
    "cropToRatio-smart": {"kind": "cropToRatio", "width": 1, "height": 2, "gravity": "smart"},
    "extend": {"kind": "extend", "top": 5, "left": 15, "background": "#c008"},
    "pad": {"kind": "pad", "width": 100, "height": 100, "gravity": "south", "background": "#ffcc00"},
    "trim": {"kind": "trim"},
    "crop-smart": {"kind": "crop", "width": 30, "height": 30, "gravity": "smart"},
    "pad-mean": {"kind": "pad", "width": 100, "height": 60, "background": "mean"},
    "pad-blur": {"kind": "pad", "width": 100, "height": 60, "background": "blur"},
    "trim-euclidean": {"kind": "trim", "measure": "euclidean", "threshold": 60, "corner": "southeast"},
    "trim-equal": {"kind": "trim", "color": "#ff00ff", "equal": "both"},
    "rotate": {"kind": "rotate", "angle": 30},
    "rotate-on-color": {"kind": "rotate", "angle": -10, "background": "#003300"},
    "rotate-right": {"kind": "rotate", "angle": 90},
    "unrotate": {"kind": "unrotate"},
    "flip": {"kind": "flip"},
    "flop": {"kind": "flop"},
    "blur": {"kind": "blur", "sigma": 2},
    "sharpen": {"kind": "sharpen", "sigma": 1},
    "sharpen-strongly": {"kind": "sharpen", "sigma": 2, "amount": 4},
    "noise": {"kind": "noise", "sigma": 20, "seed": 7},
    "convolve": {"kind": "convolve", "matrix": [[-1, -1, 0], [-1, 1, 1], [0, 1, 1]]},
    "median": {"kind": "median", "size": 5},
    "pixelate": {"kind": "pixelate", "size": 7},
    "brightness": {"kind": "brightness", "factor": 1.3},
    "contrast": {"kind": "contrast", "factor": 1.5},
    "saturation": {"kind": "saturation", "factor": 0.4},
    "saturation-hsp": {"kind": "saturation", "factor": 1.8, "model": "hsp"},
    "linear": {"kind": "linear", "factor": [0.8], "offset": [30]},
    "linear-by-channel": {"kind": "linear", "factor": [1.2, 1, 0.5], "offset": [0, 10, 20]},
    "curves": {"kind": "curves", "all": [[0, 0], [60, 90], [255, 255]]},
    "curves-by-channel": {"kind": "curves", "red": [[0, 255], [255, 0]], "blue": [[40, 0], [200, 255]]},
    "equalize": {"kind": "equalize"},
    "hue": {"kind": "hue", "angle": 120},
    "gamma": {"kind": "gamma", "exponent": 2},
    "grayscale": {"kind": "grayscale"},
    "sepia": {"kind": "sepia"},
    "tint": {"kind": "tint", "color": "#0066ff"},
    "duotone": {"kind": "duotone", "shadow": "#200040", "highlight": "#ffe080"},
    "invert": {"kind": "invert"},
    "roundCorners": {"kind": "roundCorners", "radius": 20},
    "roundCorners-elliptic": {"kind": "roundCorners", "radius": 30, "vertical": 10},
    "rectangle": {"kind": "rectangle", "left": 50, "top": 10, "width": 90, "height": 20, "color": "#c00"},
    "rectangle-outline": {"kind": "rectangle", "left": 5, "top": 5, "width": 30, "height": 20, "thickness": 2},
    "circle": {"kind": "circle"},
    "flatten": {"kind": "flatten", "background": "#ff0000"},
    "border": {"kind": "border", "width": 3, "color": "#ffffff"},
    "watermark": {"kind": "watermark", "image": LOGO, "scale": 0.5, "gravity": "northeast", "margin": 3},
    "watermark-faint": {"kind": "watermark", "image": LOGO, "opacity": 0.4, "gravity": {"x": 0.2, "y": 0.7}},
    "watermark-tile": {"kind": "watermark", "image": LOGO, "scale": 0.2, "tile": True, "margin": 2},
    "watermark-offset": {"kind": "watermark", "image": LOGO, "gravity": "southeast", "x": -8, "y": 5, "height": 0.6},
    "watermark-row": {"kind": "watermark", "image": LOGO, "scale": 0.2, "tile": "horizontal", "gravity": "north"},
    "frame": {"kind": "frame", "image": PATCH, "background": "#ffffff"},
    "text": {"kind": "text", "text": "© مرحبا 42", "size": 12, "margin": 2},
    "text-tile": {"kind": "text", "text": "שלום", "size": 10, "color": "#fc08", "tile": True, "margin": 4},
}


def render(sandbox: Sandbox, image: pyvips.Image, *operations: dict[str, Any], to: Format = Format.PNG) -> pyvips.Image:
    recipe = read_recipe({"name": "x", "operations": operations, "output": {"format": to}})
    rendition = sandbox.render(encode(image, "png"), [recipe], OVERLAYS).get("x")
    return decode(rendition.data)


def small() -> pyvips.Image:
    return photograph(72)


def cut_out() -> pyvips.Image:
    """Return the cup in a soft circle, on transparency."""
    image = small()
    size = f'width="{image.width}" height="{image.height}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><circle cx="36" cy="23" r="21" fill-opacity=".8"/></svg>'
    return image.bandjoin(pyvips.Image.svgload_buffer(svg.encode())[3])


def test_every_operation_has_an_example() -> None:
    assert {example["kind"] for example in EXAMPLES.values()} == set(OPERATIONS)


def test_every_operation_is_in_the_api_description_and_the_readme() -> None:
    described = TypeAdapter(Recipe).json_schema()["properties"]["operations"]["items"]["discriminator"]["mapping"]
    readme = (GOLDEN.parents[1] / "README.md").read_text()

    assert sorted(described) == sorted(OPERATIONS)
    assert [kind for kind in OPERATIONS if f"`{kind}`" not in readme] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_operation_on_a_photograph_looks_like_its_golden_image(sandbox: Sandbox, name: str) -> None:
    assert_looks_like_golden(render(sandbox, small(), EXAMPLES[name]), f"operation-{name}")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_operation_on_a_cut_out_looks_like_its_golden_image(sandbox: Sandbox, name: str) -> None:
    assert_looks_like_golden(render(sandbox, cut_out(), EXAMPLES[name]), f"operation-{name}-cut-out")


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("bands", [1, 2])
def test_an_operation_works_on_gray_with_and_without_alpha(sandbox: Sandbox, name: str, bands: int) -> None:
    image = render(sandbox, plain(96, 64, 100, 255)[:bands], EXAMPLES[name])

    assert image.bands in {bands, 2, 3, 4}


@settings(max_examples=150, deadline=None)
@given(
    operations=st.lists(st.sampled_from(list(EXAMPLES.values())), min_size=1, max_size=5),
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    color=st.lists(st.integers(0, 255), min_size=1, max_size=4),
)
def test_operations_work_in_any_order_on_any_image(
    sandbox: Sandbox, operations: list[dict[str, Any]], width: int, height: int, color: list[int]
) -> None:
    rendered = render_or_reject(sandbox, plain(width, height, *color), *operations)

    assert rendered == FailureCode.CROP_OUTSIDE if isinstance(rendered, str) else rendered.width >= 1


def render_or_reject(sandbox: Sandbox, image: pyvips.Image, *operations: dict[str, Any]) -> pyvips.Image | FailureCode:
    """Return the rendition, or why there is none: a small image doesn't reach as far as the crop."""
    try:
        return render(sandbox, image, *operations)
    except Rejected as reason:
        return reason.failure


@pytest.mark.parametrize(
    ("operation", "size"),
    [
        ({"width": 60, "fit": "inside"}, (60, 40)),
        ({"height": 60, "fit": "inside"}, (90, 60)),
        ({"width": 60, "height": 60, "fit": "inside"}, (60, 40)),
        ({"width": 60, "height": 60, "fit": "outside"}, (90, 60)),
        ({"width": 60, "height": 60, "fit": "contain"}, (60, 60)),
        ({"width": 60, "height": 60, "fit": "fill"}, (60, 60)),
        ({"width": 60, "height": 60}, (60, 60)),
        ({"width": 300, "height": 300, "fit": "inside"}, (300, 200)),
        ({"width": 300, "height": 300, "fit": "inside", "enlarge": False}, (120, 80)),
        ({"width": 300, "height": 300, "enlarge": False}, (120, 80)),
        ({"width": 60, "height": 300, "enlarge": False}, (60, 80)),
        ({"width": 300, "height": 300, "fit": "contain", "enlarge": False}, (300, 300)),
        ({"width": 300, "height": 40, "fit": "fill", "enlarge": False}, (120, 40)),
    ],
)
def test_resized_sizes_are_those_of_sharp_and_css(
    sandbox: Sandbox, operation: dict[str, Any], size: tuple[int, int]
) -> None:
    image = render(sandbox, plain(120, 80, 1, 2, 3), {"kind": "resize", **operation})

    assert (image.width, image.height) == size


@pytest.mark.parametrize(
    ("gravity", "color"),
    [
        ("west", [255, 0, 0]),
        ("east", [0, 0, 255]),
        ("center", [0, 255, 0]),
        ("northwest", [255, 0, 0]),
        ({"x": 0, "y": 0}, [255, 0, 0]),
        ({"x": 0.5, "y": 1}, [0, 255, 0]),
        ({"x": 1, "y": 0.5}, [0, 0, 255]),
    ],
)
@pytest.mark.parametrize("width", [300, 3_000])
def test_gravity_decides_which_part_a_cover_keeps(
    sandbox: Sandbox, gravity: object, color: list[int], width: int
) -> None:
    third = width // 3
    stripes = plain(third, 40, 255, 0, 0).join(plain(third, 40, 0, 255, 0), "horizontal")
    stripes = stripes.join(plain(third, 40, 0, 0, 255), "horizontal")

    image = render(sandbox, stripes, {"kind": "resize", "width": 20, "height": 20, "gravity": gravity})

    assert color_at(image, 10, 10) == color


def test_smart_gravity_finds_a_photograph_on_an_empty_canvas(sandbox: Sandbox) -> None:
    empty = plain(600, 100, 128, 128, 128).insert(photograph(100), 470, 10)

    image = render(sandbox, empty, {"kind": "resize", "width": 100, "height": 100, "gravity": "smart"})

    assert image.colourspace("b-w").deviate() > 20


def _fine_board(bands: int, depth: int) -> pyvips.Image:
    """Return a board of black and white pixels, half opaque if it has alpha."""
    at = pyvips.Image.xyz(64, 64)
    image = ((at[0] + at[1]) % 2 * 255).cast("uchar")
    image = image.bandjoin([image, image]) if bands > 2 else image
    image = image.copy(interpretation="srgb" if bands > 2 else "b-w")
    image = image.bandjoin(128) if bands % 2 == 0 else image
    if depth == 8:
        return image
    return (image.cast("ushort") * 257).cast("ushort").copy(interpretation="rgb16" if bands > 2 else "grey16")


HALF_THE_LIGHT, A_QUARTER = 188, 137  # in sRGB


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("fit", ["cover", "contain", "fill", "inside", "outside"])
def test_fine_detail_keeps_its_brightness_in_linear_light(sandbox: Sandbox, bands: int, depth: int, fit: str) -> None:
    board, small = _fine_board(bands, depth), {"kind": "resize", "width": 8, "height": 8, "fit": fit}

    usual, linear = (render(sandbox, board, {**small, "linear": value}) for value in (False, True))

    *colors, last = color_at(linear, 4, 4)
    assert abs(last - (128 if bands % 2 == 0 else HALF_THE_LIGHT)) <= 1
    assert set(colors) <= {HALF_THE_LIGHT}
    assert abs(color_at(usual, 4, 4)[0] - 128) <= 1


@pytest.mark.parametrize("name", ["jpeg", "gif", "webp", "avif", "tiff", "bmp", "heic", "jxl"])
def test_no_decoder_scales_before_a_resize_in_linear_light(sandbox: Sandbox, name: str) -> None:
    """Lines keep their averages under lossy compression. A decoder that scales would have made them middle gray."""
    lines = pyvips.Image.xyz(64, 64)[1] % 4 < 2
    data = encode(lines.bandjoin([lines, lines]).copy(interpretation="srgb"), name)
    resize = {"kind": "resize", "width": 4, "height": 4, "linear": True}

    (rendition,) = sandbox.render(data, [read_recipe({"name": "x", "operations": [resize]})]).renditions

    assert abs(color_at(decode(rendition.data), 2, 2)[0] - HALF_THE_LIGHT) <= 6


@pytest.mark.parametrize("profile", ["cmyk", "p3"])
def test_linear_light_is_computed_from_converted_colors(sandbox: Sandbox, profile: str) -> None:
    board = _fine_board(3, 8).icc_transform(profile, input_profile="srgb", intent="relative")
    resize = {"kind": "resize", "width": 8, "height": 8, "linear": True}

    (rendition,) = sandbox.render(
        board.tiffsave_buffer(), [read_recipe({"name": "x", "operations": [resize]})]
    ).renditions

    assert all(abs(value - HALF_THE_LIGHT) <= 4 for value in color_at(decode(rendition.data), 4, 4))


def test_linear_light_leaves_no_dark_fringe(sandbox: Sandbox) -> None:
    image = plain(400, 400, 0, 0, 0, 0).insert(plain(150, 400, 255, 255, 255, 255), 0, 0)

    small = render(sandbox, image, {"kind": "resize", "width": 100, "height": 100, "linear": True})

    assert (small[0] < 250).ifthenelse(small[3] > 8, 0).max() == 0


def test_each_frame_is_resized_in_linear_light(sandbox: Sandbox) -> None:
    board = _fine_board(3, 8)
    columns = pyvips.Image.xyz(64, 64)[0] % 4 < 1
    tall = board.join(columns.bandjoin([columns, columns]), "vertical").copy(interpretation="srgb")
    tall.set_type(pyvips.GValue.gint_type, "page-height", 64)
    resize = {"kind": "resize", "width": 8, "height": 8, "linear": True}
    recipe = read_recipe({"name": "x", "operations": [resize], "output": {"animation": "keep"}})

    (rendition,) = sandbox.render(tall.gifsave_buffer(), [recipe]).renditions

    frames = pyvips.Image.new_from_buffer(rendition.data, "", n=-1)
    assert (frames.height, frames.get("page-height")) == (16, 8)
    assert [color_at(frames, 4, y)[0] for y in (4, 12)] == [HALF_THE_LIGHT, A_QUARTER]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_can_be_turned_back_to_how_it_is_stored(sandbox: Sandbox, orientation: int) -> None:
    stored = small().copy()
    stored.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    recipe = read_recipe({"name": "x", "operations": [{"kind": "unrotate"}], "output": {"format": "png"}})

    made = decode(sandbox.render(stored.tiffsave_buffer(), [recipe]).get("x").data)

    assert (made.width, made.height) == (stored.width, stored.height)
    assert (made - stored).abs().max() == 0


def test_operations_are_applied_in_order(sandbox: Sandbox) -> None:
    crop = {"kind": "crop", "left": 60, "width": 60, "height": 80}
    flop = {"kind": "flop"}
    image = plain(60, 80, 255, 0, 0).join(plain(60, 80, 0, 0, 255), "horizontal")

    assert color_at(render(sandbox, image, crop, flop), 5, 5) == [0, 0, 255]
    assert color_at(render(sandbox, image, flop, crop), 5, 5) == [255, 0, 0]


def test_a_recipe_without_operations_changes_no_pixel(sandbox: Sandbox) -> None:
    assert (render(sandbox, small()) - small()).abs().max() == 0


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([{"kind": "resize", "width": 8_000, "height": 8_000, "fit": "fill"}], FailureCode.OUTPUT_TOO_LARGE),
        ([{"kind": "resize", "width": 4_000, "fit": "inside"}], FailureCode.OUTPUT_SIDE_TOO_LONG),
        ([{"kind": "extend", "left": 8_000, "top": 8_000}] * 2, FailureCode.TOO_MANY_PIXELS),
        ([{"kind": "extend", "left": 8_000}] * 4, FailureCode.SIDE_TOO_LONG),
        ([{"kind": "extend", "left": 8_192}], FailureCode.OUTPUT_SIDE_TOO_LONG),
    ],
)
def test_a_rendition_that_would_be_too_large_is_rejected_before_it_is_made(
    sandbox: Sandbox, operations: list[dict[str, Any]], code: FailureCode
) -> None:
    with pytest.raises(Rejected) as error:
        render(sandbox, plain(10, 40, 1, 2, 3), *operations)

    assert error.value.failure is code


@pytest.mark.parametrize(("left", "top"), [(40, 0), (0, 10), (8_192, 8_192)])
def test_a_crop_outside_the_image_is_rejected(sandbox: Sandbox, left: int, top: int) -> None:
    crop = {"kind": "crop", "left": left, "top": top, "width": 5, "height": 5}

    with pytest.raises(Rejected, match=f"begins at {left:,}, {top:,} px, outside the image of 40 x 10 px") as error:
        render(sandbox, plain(40, 10, 1, 2, 3), crop)

    assert error.value.failure is FailureCode.CROP_OUTSIDE
    assert render(sandbox, plain(40, 10, 1, 2, 3), crop | {"left": 39, "top": 9}).width == 1


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        ({"kind": "resize"}, ()),
        ({"kind": "resize", "width": 10, "height": 10, "fit": "inside", "gravity": "smart"}, ()),
        ({"kind": "resize", "width": 9_000, "height": 1}, ("width",)),
        ({"kind": "resize", "width": 10, "height": 10, "gravity": {"x": 2, "y": 0}}, ("gravity", "Focus", "x")),
        ({"kind": "rotate", "angle": float("nan")}, ("angle",)),
        ({"kind": "rotate"}, ("angle",)),
        ({"kind": "tint", "color": "reddish"}, ("color",)),
        ({"kind": "blur", "sigma": 5_000}, ("sigma",)),
        ({"kind": "flip", "twice": True}, ("twice",)),
        ({"kind": "crop", "left": 1, "width": 1, "height": 1, "gravity": "smart"}, ()),
        ({"kind": "linear", "factor": [1, 2]}, ()),
        ({"kind": "linear", "factor": [99]}, ("factor", 0)),
        ({"kind": "curves", "red": [[9, 0], [9, 1]]}, ()),
        ({"kind": "curves", "red": [[256, 0]]}, ("red", 0, 0)),
        ({"kind": "convolve", "matrix": [[1, 2]]}, ()),
        ({"kind": "convolve", "matrix": []}, ("matrix",)),
        ({"kind": "noise", "sigma": 0}, ("sigma",)),
        ({"kind": "pad", "width": 1, "height": 1, "background": "median"}, ("background",)),
        ({"kind": "watermark"}, ("image",)),
        ({"kind": "watermark", "image": "logo.png"}, ("image",)),
        ({"kind": "watermark", "image": LOGO, "scale": 0}, ("scale",)),
        ({"kind": "watermark", "image": LOGO, "opacity": 1.5}, ("opacity",)),
        ({"kind": "watermark", "image": LOGO, "tile": True, "gravity": "southeast"}, ()),
        ({"kind": "watermark", "image": LOGO, "gravity": "smart"}, ("gravity", "Focus")),
        ({"kind": "text", "text": "x", "tile": True, "gravity": "north"}, ()),
        ({"kind": "text", "text": "x", "size": 2_000}, ("size",)),
        ({"kind": "text", "text": ""}, ("text",)),
        ({"kind": "text", "text": "x" * 501}, ("text",)),
    ],
)
def test_an_invalid_parameter_is_reported_with_its_path(operation: dict[str, Any], path: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as error:
        read_recipe({"name": "x", "operations": [operation]})

    assert ("operations", 0, operation["kind"], *path) in [each["loc"] for each in error.value.errors()]


def test_an_unknown_operation_is_invalid() -> None:
    with pytest.raises(ValidationError, match="teleport"):
        TypeAdapter(Operation).validate_python({"kind": "teleport"})


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_preset_can_be_rendered(sandbox: Sandbox, preset: Recipe) -> None:
    (rendition,) = sandbox.render(encode(photograph(), "jpeg"), [preset]).renditions

    assert max(rendition.width, rendition.height) <= 1_600
    assert rendition.recipe is preset
