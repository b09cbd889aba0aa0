"""Recipes are pure descriptions: comparable, hashable, and free of any imaging library."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from shared_lib.pipeline.operations import Resize
from shared_lib.pipeline.recipe import THUMBNAIL, Output, Recipe


def test_the_hash_of_a_recipe_never_changes_by_itself() -> None:
    # It names objects in the store. When this fails, either _REVISION was raised, or old renditions are orphaned.
    assert THUMBNAIL.hash == "56cbe71db416d9b7"


def test_the_hash_depends_on_what_is_made_and_not_on_its_name() -> None:
    renamed = Recipe(name="other", operations=THUMBNAIL.operations)
    smaller = Recipe(name="thumbnail", operations=(Resize(width=99, height=100),))
    poorer = Recipe(name="thumbnail", operations=THUMBNAIL.operations, output=Output(quality=40))

    assert renamed.hash == THUMBNAIL.hash
    assert len({THUMBNAIL.hash, smaller.hash, poorer.hash}) == 3


def test_a_recipe_survives_json() -> None:
    assert Recipe.model_validate_json(THUMBNAIL.model_dump_json()) == THUMBNAIL


@pytest.mark.parametrize(
    "mistake",
    [
        {"name": "../x"},
        {"operations": [{"kind": "teleport"}]},
        {"operations": [{"kind": "resize", "width": 0, "height": 1}]},
        {"operations": [{"kind": "resize", "width": 100, "height": 100, "wdith": 1}]},
        {"output": {"format": "bmp"}},
        {"output": {"quality": 101}},
    ],
)
def test_a_mistake_is_named_and_not_ignored(mistake: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate(THUMBNAIL.model_dump() | mistake)


def test_importing_the_pipeline_loads_no_imaging_library() -> None:
    code = "import sys, shared_lib.pipeline; print({'PIL', 'pyvips', 'resvg_py', 'cffi'} & set(sys.modules))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "set()"
