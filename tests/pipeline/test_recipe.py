"""Recipes can be compared, hashed, written and read, without any imaging library."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from shared_lib.pipeline.operations import OPERATIONS
from shared_lib.pipeline.operations.resize import Resize
from shared_lib.pipeline.operations.shape import Flatten
from shared_lib.pipeline.output import DEFAULTS, OutputOptions
from shared_lib.pipeline.recipe import PRESETS, THUMBNAIL, Recipe
from shared_lib.pipeline.recipe_schema import read_recipe, write_recipe
from shared_lib.validation import describe_mistake

LOGO = "0b54d0c4-6bb1-4a0f-8e46-1d4ac5a3d0c8"


@pytest.mark.parametrize(
    ("operations", "output", "expected"),
    [
        ([], {}, "74fd54fadd70fe34"),
        ([{"kind": "resize", "width": 100, "height": 100}], {"format": "source"}, "659905c131b16429"),
        ([{"kind": "resize", "width": 3, "height": 4, "gravity": {"x": 1, "y": 0.25}}], {}, "de6a8e0d416e1a04"),
        ([{"kind": "crop", "width": 3, "height": 3, "left": 5, "top": 8192}], {}, "18f544edfe644983"),
        ([{"kind": "trim", "threshold": 10}], {}, "a9f37bfae266568c"),
        ([{"kind": "hue", "angle": 120}], {}, "0577d714ee338231"),
        ([{"kind": "tint", "color": "#0066ff"}], {}, "51296e86731de3f7"),
        ([{"kind": "watermark", "image": LOGO, "scale": 1}], {}, "9de68bdbb6ea7100"),
        ([{"kind": "watermark", "image": LOGO.upper(), "opacity": 0}], {}, "3a2051c5ec792d3a"),
        ([{"kind": "text", "text": "é\nß", "tile": True}], {}, "82ea2361539d2585"),
        ([], {"maxBytes": 5000}, "e6d6201a3b63a1ca"),
        ([], {"format": "jpeg", "quality": 75}, "cd25355ceaabad27"),
        (
            [{"kind": "rotate", "angle": 3}, {"kind": "border", "width": 2}, {"kind": "blur", "sigma": 2}],
            {"format": "avif", "quality": 50, "effort": 10},
            "7ce8dba8fde79396",
        ),
    ],
)
def test_the_hash_of_a_recipe_never_changes_unintentionally(
    operations: list[dict[str, Any]], output: dict[str, Any], expected: str
) -> None:
    # It names objects in the store. When this fails, either _REVISION was raised, or old renditions are orphaned.
    assert read_recipe({"name": "x", "operations": operations, "output": output}).hash == expected


def _recipe(*operations: dict[str, Any], **output: object) -> dict[str, Any]:
    return {"name": "x", "operations": list(operations), "output": output}


# Recipes as an older release stored them, with the hashes that it computed.
_FORMER = [
    (_recipe({"kind": "crop_to_ratio", "width": 16, "height": 9, "gravity": "centre"}), "9fa9d682dfce7c03"),
    (_recipe({"kind": "crop_to_ratio", "width": 1, "height": 1, "gravity": "north-east"}), "62b3e950e989e187"),
    (_recipe({"kind": "round_corners", "radius": 12}), "0859083c1b903c72"),
    (_recipe({"kind": "resize", "width": 40, "height": 60, "gravity": "south-west"}), "16abe72d3921effc"),
    (_recipe({"kind": "resize", "width": 40, "height": 60, "gravity": "centre"}), "9b5860abe779a841"),
    (
        _recipe({"kind": "pad", "width": 40, "height": 60, "gravity": "north-west", "background": "#fc0"}),
        "597455c4a6c16a02",
    ),
    (_recipe({"kind": "watermark", "image": LOGO, "gravity": "centre"}), "b3d30c47867d61be"),
    (_recipe({"kind": "text", "text": "centre", "gravity": "south-east", "colour": "#ffcc0080"}), "ddede251b1de44a1"),
    (
        _recipe({"kind": "tint", "colour": "#0066ff"}, {"kind": "border", "width": 3, "colour": "#fff"}),
        "cfc9e0454a1208e4",
    ),
    (_recipe(format="jpeg", chroma="4:4:4", colours=None), "9d8eece8aa824fd7"),
    (_recipe(format="png", chroma="4:2:0", colours=16), "903e9824cb91f63a"),
    (
        _recipe(
            {"kind": "round_corners", "radius": 9},
            {"kind": "border", "width": 2, "colour": "#000000"},
            format="avif",
            chroma="4:4:4",
            quality=50,
            maxBytes=20_000,
        ),
        "d4c93f94f82cdf26",
    ),
]
_FORMER_NAMES = re.compile(r'colour|"centre"|(north|south)-|_to_ratio|_corners|"chroma"')


@pytest.mark.parametrize(("stored", "expected"), _FORMER, ids=[expected for _, expected in _FORMER])
def test_a_recipe_stored_by_an_older_release_keeps_its_hash_and_is_written_with_the_new_names(
    stored: dict[str, Any], expected: str
) -> None:
    recipe = read_recipe(stored)
    written = write_recipe(recipe)

    assert recipe.hash == expected
    assert _FORMER_NAMES.search(written.replace('"text":"centre"', "")) is None
    assert read_recipe(json.loads(written)) == recipe
    assert read_recipe(json.loads(written)).hash == expected


def test_british_spelling_means_the_same() -> None:
    british = _recipe({"kind": "text", "text": "x", "colour": "#fff", "gravity": "centre"}, format="png", colours=4)
    american = _recipe({"kind": "text", "text": "x", "color": "#fff", "gravity": "center"}, format="png", colors=4)

    assert read_recipe(british) == read_recipe(american)


@pytest.mark.parametrize(
    "both",
    [
        _recipe({"kind": "tint", "color": "#fff", "colour": "#000"}),
        _recipe(format="png", colors=4, colours=16),
        _recipe(format="jpeg", chroma="4:4:4", chromaSubsampling="4:2:0"),
    ],
)
def test_both_spellings_of_a_field_at_once_are_invalid(both: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="Unexpected keyword argument"):
        read_recipe(both)


def test_other_spellings_are_no_part_of_the_api_description() -> None:
    description = json.dumps(TypeAdapter(Recipe).json_schema())

    assert '"color"' in description
    assert _FORMER_NAMES.search(description) is None


def test_the_hash_depends_on_the_pixels_and_not_on_the_name() -> None:
    other_name = Recipe(name="other", operations=THUMBNAIL.operations)
    smaller = Recipe(name="thumbnail", operations=(Resize(width=99, height=100),))
    lower_quality = Recipe(name="thumbnail", operations=THUMBNAIL.operations, output=OutputOptions(quality=40))

    assert other_name.hash == THUMBNAIL.hash
    assert len({THUMBNAIL.hash, smaller.hash, lower_quality.hash}) == 3


@pytest.mark.parametrize("recipe", PRESETS.values(), ids=PRESETS)
def test_a_recipe_is_the_same_after_writing_and_reading(recipe: Recipe) -> None:
    kept = read_recipe(json.loads(write_recipe(recipe)))

    assert (kept, kept.hash) == (recipe, recipe.hash)


@pytest.mark.parametrize(
    "operation",
    [
        {"kind": "grayscale"},
        {"kind": "pad", "width": 9, "height": 9},
        {"kind": "watermark", "image": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
        {"kind": "resize", "width": 9, "gravity": {"x": 0.1, "y": 0.2}},
    ],
    ids=lambda operation: operation["kind"],
)
def test_what_is_stored_has_no_parameter_that_nobody_set_because_the_last_release_may_not_know_it(
    operation: dict[str, Any],
) -> None:
    recipe = {"name": "x", "operations": [operation], "output": {"quality": 7}}

    assert json.loads(write_recipe(read_recipe(recipe))) == recipe


def test_a_color_may_be_written_in_capitals() -> None:
    flatten = [{"kind": "flatten", "background": "#FFAA00"}]

    (described,) = read_recipe({"name": "x", "operations": flatten}).operations

    assert described == Flatten(background="#ffaa00")


def test_an_integer_may_be_written_with_a_decimal_point() -> None:
    described = [{"kind": "resize", "width": 100.0, "height": 100.0}]

    assert read_recipe({"name": "thumbnail", "operations": described}) == THUMBNAIL


@pytest.mark.parametrize(
    "invalid",
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
def test_an_invalid_recipe_is_rejected(invalid: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        read_recipe({"name": "x"} | invalid)


KINDS = ", ".join(sorted(OPERATIONS))
OPTIONS = ", ".join(DEFAULTS)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"operations": [{"kind": "reszie"}]}, "there is no kind 'reszie'; did you mean 'resize'?"),
        ({"operations": [{"kind": "fl0p"}]}, "there is no kind 'fl0p'; did you mean 'flop' or 'flip'?"),
        ({"operations": [{"kind": "zoom"}]}, f"there is no kind 'zoom'; it is one of {KINDS}"),
        ({"operations": [{"width": 5}]}, "kind is missing"),
        ({"operations": [5]}, "must be an object"),
        ({"operations": "resize"}, "must be a list"),
        ({"operations": [{"kind": "flip"}] * 99}, "must have at most 20 items"),
        ({"output": 5}, "must be an object"),
        (
            {"output": {"format": "bmp"}},
            "must be 'source', 'auto', 'compatible', 'jpeg', 'png', 'gif', 'webp', 'avif', 'tiff' or 'jxl'",
        ),
        ({"operations": [{"kind": "resize"}]}, "width, height or both are needed"),
        ({"operations": [{"kind": "flip", "way": "up"}]}, "is not known here. Only kind is known"),
        (
            {"operations": [{"kind": "crop", "heigt": 5, "width": 5, "height": 5}]},
            "is not known here. Did you mean height? Known are kind, left, top, width, height, gravity",
        ),
        ({"output": {"maxByte": 5000}}, f"is not known here. Did you mean maxBytes? Known are {OPTIONS}"),
    ],
)
def test_an_error_is_reported_once_and_in_terms_of_json(recipe: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError) as error:
        read_recipe({"name": "x", **recipe})

    assert [describe_mistake(each, Recipe) for each in error.value.errors()] == [expected]


def test_importing_the_sandbox_loads_no_imaging_library() -> None:
    code = (
        "import sys, shared_lib.pipeline.sandbox.pool; print({'PIL', 'pyvips', 'resvg_py', 'cffi'} & set(sys.modules))"
    )

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "set()"
