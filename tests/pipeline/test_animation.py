"""Animations: kept through every operation, within limits, when asked for; else their first frame."""

import re
import struct
from typing import Any

import pytest
import pyvips
from pipeline.pictures import DELAYS, animation, colour_at, decode, encode, photograph
from pydantic import ValidationError

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


def long_gif(frames: int, side: int) -> bytes:
    """The second and the third frame of an animation, over and over."""
    data = animation(".gif", frames=3, width=side, height=side)
    second = frame_starts(data)[1]
    return data[:second] + data[second:-1] * ((frames - 1) // 2) + data[-1:]


def frame_starts(gif: bytes | bytearray) -> list[int]:
    """Where each frame's graphic control extension is, with the image descriptor behind it."""
    return [at.start() for at in re.finditer(rb"\x21\xf9\x04....\0\x2c", gif, re.DOTALL)]


def test_the_frames_of_an_animation_that_is_not_kept_cost_nothing() -> None:
    """Decoded, they would take 1.2 GB."""
    data = long_gif(frames=10_001, side=200)
    assert len(frame_starts(data)) == 10_001
    box = DecoderBox(
        Limits(max_frames=4, max_animation_pixels=1_000, memory_bytes=256 << 20, cpu_seconds=2), children=1
    )

    assert box.render(data, [THUMBNAIL]).width == 200
    box.close()


def test_the_sides_of_a_rendition_are_those_of_a_frame(box: DecoderBox) -> None:
    made = keep(box, long_gif(frames=101, side=100))

    assert (made.width, made.height) == (100, 100)
    assert frames_of(made.data).height == 10_100


@pytest.mark.parametrize(("left", "width", "height"), [(0, 60_000, 60_000), (0, 100, 90), (50, 60, 40)])
def test_a_frame_beyond_the_canvas_is_cut_to_it(box: DecoderBox, left: int, width: int, height: int) -> None:
    data = bytearray(animation(".gif"))
    second = frame_starts(data)[1]
    data[second + 9 : second + 17] = struct.pack("<HHHH", left, 0, width, height)

    made = keep(box, bytes(data))

    assert (made.width, made.height, frames_of(made.data).get("n-pages")) == (60, 40, 5)


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
