"""Recipes are pure descriptions: comparable, hashable, and free of any imaging library."""

import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from shared_lib.pipeline.operations import Flatten, Resize
from shared_lib.pipeline.recipe import PRESETS, THUMBNAIL, Output, Recipe
from shared_lib.pipeline.recipe_schema import describe_mistake, read_recipe, write_recipe

LOGO = "0b54d0c4-6bb1-4a0f-8e46-1d4ac5a3d0c8"


@pytest.mark.parametrize(
    ("operations", "output", "expected"),
    [
        ([], {}, "df20c8c5ef798d4b"),
        ([{"kind": "resize", "width": 100, "height": 100}], {"format": "source"}, "56cbe71db416d9b7"),
        ([{"kind": "resize", "width": 3, "height": 4, "gravity": {"x": 1, "y": 0.25}}], {}, "dbc4a608bdd7a87d"),
        ([{"kind": "crop", "width": 3, "height": 3, "left": 5, "top": 8192}], {}, "45fed2bbe6d50d1b"),
        ([{"kind": "trim", "threshold": 10}], {}, "8b8619b1eb17887e"),
        ([{"kind": "hue", "angle": 120}], {}, "6b9838ac57029052"),
        ([{"kind": "tint", "colour": "#0066ff"}], {}, "0cf205528b2b8a67"),
        ([{"kind": "watermark", "image": LOGO, "scale": 1}], {}, "18f56b907106f4c9"),
        ([{"kind": "watermark", "image": LOGO.upper(), "opacity": 0}], {}, "dce5f2b99ea34718"),
        ([{"kind": "text", "text": "é\nß", "tile": True}], {}, "759ee4cf317fece1"),
        ([], {"maxBytes": 5000}, "7db32d5e2cabcbe6"),
        ([], {"format": "jpeg", "quality": 75}, "72b0c2005c8c376b"),
        (
            [{"kind": "rotate", "angle": 3}, {"kind": "border", "width": 2}, {"kind": "blur", "sigma": 2}],
            {"format": "avif", "quality": 50, "effort": 10},
            "75be904f7f6bcf15",
        ),
    ],
)
def test_the_hash_of_a_recipe_never_changes_by_itself(
    operations: list[dict[str, Any]], output: dict[str, Any], expected: str
) -> None:
    # It names objects in the store. When this fails, either _REVISION was raised, or old renditions are orphaned.
    assert read_recipe({"name": "x", "operations": operations, "output": output}).hash == expected


def test_the_hash_depends_on_what_is_made_and_not_on_its_name() -> None:
    renamed = Recipe(name="other", operations=THUMBNAIL.operations)
    smaller = Recipe(name="thumbnail", operations=(Resize(width=99, height=100),))
    poorer = Recipe(name="thumbnail", operations=THUMBNAIL.operations, output=Output(quality=40))

    assert renamed.hash == THUMBNAIL.hash
    assert len({THUMBNAIL.hash, smaller.hash, poorer.hash}) == 3


@pytest.mark.parametrize("recipe", PRESETS.values(), ids=PRESETS)
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    kept = read_recipe(json.loads(write_recipe(recipe)))

    assert (kept, kept.hash) == (recipe, recipe.hash)


def test_a_colour_may_be_written_in_capitals() -> None:
    flatten = [{"kind": "flatten", "background": "#FFAA00"}]

    (described,) = read_recipe({"name": "x", "operations": flatten}).operations

    assert described == Flatten(background="#ffaa00")


def test_a_whole_number_may_be_written_with_a_point() -> None:
    described = [{"kind": "resize", "width": 100.0, "height": 100.0}]

    assert read_recipe({"name": "thumbnail", "operations": described}) == THUMBNAIL


@pytest.mark.parametrize(
    "mistake",
    [
        {"name": "../x"},
        {"operations": [{"kind": "teleport"}]},
        {"operations": [{"kind": "resize", "width": 0, "height": 1}]},
        {"operations": [{"kind": "resize", "width": 1.5, "height": 1}]},
        {"operations": [{"kind": "resize", "width": 100, "height": 100, "wdith": 1}]},
        {"output": {"format": "bmp"}},
        {"output": {"quality": 101}},
    ],
)
def test_a_mistake_is_named_and_not_ignored(mistake: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        read_recipe({"name": "x"} | mistake)


KINDS = (
    "resize, crop, crop_to_ratio, extend, pad, trim, rotate, flip, flop, blur, sharpen, median, pixelate, brightness, "
    "contrast, saturation, hue, gamma, grayscale, sepia, tint, duotone, invert, round_corners, circle, flatten, "
    "border, watermark, text"
)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"operations": [{"kind": "reszie"}]}, "there is no kind 'reszie'; did you mean 'resize'?"),
        ({"operations": [{"kind": "fl0p"}]}, "there is no kind 'fl0p'; did you mean 'flop' or 'flip'?"),
        ({"operations": [{"kind": "zoom"}]}, f"there is no kind 'zoom'; it is one of {KINDS}"),
        ({"operations": [{"width": 5}]}, "kind is missing"),
        ({"operations": [5]}, "Input should be an object"),
        ({"operations": "resize"}, "Input should be a list"),
        ({"output": 5}, "Input should be an object"),
        (
            {"output": {"format": "jpg"}},
            "Input should be 'source', 'auto', 'jpeg', 'png', 'webp', 'avif', 'gif', 'tiff' or 'jxl'",
        ),
        ({"operations": [{"kind": "resize"}]}, "width, height or both are needed"),
    ],
)
def test_a_mistake_is_described_once_and_in_the_words_of_json(recipe: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError) as error:
        read_recipe({"name": "x", **recipe})

    assert [describe_mistake(each) for each in error.value.errors()] == [expected]


def test_importing_the_box_loads_no_imaging_library() -> None:
    code = (
        "import sys, shared_lib.pipeline.sandbox.pool; print({'PIL', 'pyvips', 'resvg_py', 'cffi'} & set(sys.modules))"
    )

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "set()"
