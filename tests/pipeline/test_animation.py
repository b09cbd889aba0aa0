"""Animations: kept through every operation, within limits, when asked for; else their first frame."""

from typing import Any

import pytest
import pyvips
from pipeline.pictures import DELAYS, animation, colour_at, decode, encode, photograph
from pydantic import ValidationError

from shared_lib.errors import FailureCode, Rejected
from shared_lib.pipeline import THUMBNAIL, DecoderBox, Limits, Recipe, Rendition


def keep(box: DecoderBox, data: bytes, *operations: dict[str, Any], **output: Any) -> Rendition:
    recipe = Recipe.model_validate({"name": "x", "operations": operations, "output": {"animation": "keep", **output}})
    return box.render(data, [recipe]).get("x")


def frames_of(data: bytes) -> pyvips.Image:
    return pyvips.Image.new_from_buffer(data, "", n=-1).copy_memory()


@pytest.mark.parametrize("source", [".gif", ".webp"])
@pytest.mark.parametrize("to", ["source", "gif", "webp", "auto"])
def test_frames_times_and_rounds_are_kept(box: DecoderBox, source: str, to: str) -> None:
    made = keep(box, animation(source), {"kind": "resize", "width": 30, "height": 30}, format=to)

    image = frames_of(made.data)
    assert (made.width, made.height) == (30, 30)
    assert (image.get("page-height"), image.get("n-pages"), image.get("loop")) == (30, 5, 3)
    assert image.get("delay") == DELAYS
    assert [abs(colour_at(image, 15, 30 * n + 15)[0] - 50 * n) < 12 for n in range(5)] == [True] * 5


@pytest.mark.parametrize(
    "operation",
    [
        {"kind": "crop", "left": 10, "top": 10, "width": 20, "height": 10},
        {"kind": "rotate", "angle": 90},
        {"kind": "blur", "sigma": 2},
        {"kind": "circle"},
        {"kind": "border", "width": 2},
        {"kind": "flip"},
    ],
)
def test_operations_work_on_each_frame_alone(box: DecoderBox, operation: dict[str, Any]) -> None:
    made = keep(box, animation(".gif"), operation)

    image = frames_of(made.data)
    assert image.get("n-pages") == 5
    reds = [colour_at(image, made.width // 2, made.height * n + made.height // 2)[0] for n in range(5)]
    assert all(abs(red - 50 * n) < 12 for n, red in enumerate(reds))


@pytest.mark.parametrize("source", [".gif", ".webp"])
def test_the_first_frame_is_taken_unless_all_are_asked_for(box: DecoderBox, source: str) -> None:
    (thumbnail,) = box.render(animation(source), [THUMBNAIL]).renditions

    image = decode(thumbnail.data)
    assert image.height == 100
    assert colour_at(image, 50, 50)[0] < 12


@pytest.mark.parametrize("name", ["jpeg", "png", "gif", "webp", "avif", "tiff", "svg"])
def test_a_still_image_stays_one(box: DecoderBox, name: str) -> None:
    assert decode(keep(box, encode(photograph(60), name)).data).height == 40


def test_pages_are_not_frames(box: DecoderBox) -> None:
    assert decode(keep(box, animation(".tif")).data).height == 40


def test_too_many_frames_are_refused_with_the_numbers() -> None:
    box = DecoderBox(Limits(max_frames=4), children=1)

    with pytest.raises(Rejected) as refusal:
        keep(box, animation(".gif"))
    box.close()

    assert refusal.value.failure is FailureCode.TOO_MANY_PIXELS
    assert refusal.value.public == (
        "The animation has 5 frames of 60 x 40 = 12,000 pixels; at most 4 frames are allowed, and 100,000,000 pixels "
        "together."
    )


def test_frames_are_counted_together() -> None:
    box = DecoderBox(Limits(max_pixels=11_000), children=1)

    assert box.render(animation(".webp"), [THUMBNAIL]).width == 60
    with pytest.raises(Rejected, match="12,000 pixels"):
        keep(box, animation(".webp"))
    box.close()


@pytest.mark.parametrize(
    "recipe",
    [
        {"output": {"animation": "keep", "format": "jpeg"}},
        {"output": {"animation": "keep"}, "operations": [{"kind": "trim"}]},
        {
            "output": {"animation": "keep"},
            "operations": [{"kind": "crop_to_ratio", "width": 1, "height": 1, "gravity": "smart"}],
        },
    ],
)
def test_what_no_animation_can_be_is_a_mistake(recipe: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate({"name": "x", **recipe})
