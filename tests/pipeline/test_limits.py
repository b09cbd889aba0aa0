"""Each limit, lowered until an ordinary image exceeds it, rejects the image with its own code and both numbers."""

import struct
import zlib
from contextlib import closing
from dataclasses import fields
from typing import Any

import pytest
import pyvips
from pipeline.pictures import ENDLESS, FORMATS, SVG, animation, encode, photograph, plain, sample

from shared_lib.errors import FailureCode, Rejected
from shared_lib.limits import LEAST_MEMORY, Limits
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.sandbox.pool import Sandbox

MANY_BANDS = pyvips.Image.black(10, 10, bands=9).copy(interpretation="multiband")
KEPT = {"output": {"animation": "keep"}}


def reject(limits: dict[str, Any], data: bytes, recipe: dict[str, Any]) -> Rejected:
    sandbox = Sandbox(Limits(**limits), workers=1)
    try:
        with pytest.raises(Rejected) as error:
            sandbox.render(data, [read_recipe({"name": "x"} | recipe)]).get("x")
    finally:
        sandbox.close()
    return error.value


def with_comments(comment: bytes, times: int) -> bytes:
    """Return a PNG with compressed texts (zTXt)."""
    png: bytes = plain(8, 8, 1, 2, 3).pngsave_buffer(keep="none")
    chunk = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(comment, 9))
    return png[:33] + chunk * times + png[33:]  # after IHDR


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


CASES: dict[str, tuple[dict[str, Any], bytes, dict[str, Any], str]] = {
    "max_bytes": ({"max_bytes": 99}, SVG, {}, "The file has 113 bytes; at most 99 are allowed."),
    "max_pixels": (
        {"max_pixels": 2_000},
        SVG,
        {},
        "The image has 60 x 40 = 2,400 pixels; at most 2,000 are allowed.",
    ),
    "max_side": (
        {"max_side": 1_000},
        encode(plain(20, 1_001, 1), "png"),
        {},
        "The image is 1,001 px high; at most 1,000 are allowed.",
    ),
    "max_channels": (
        {},
        MANY_BANDS.tiffsave_buffer(),
        {},
        "The image has 9 channels; at most 5 are allowed.",
    ),
    "max_bits": (
        {},
        plain(9, 9, 1).cast("float").tiffsave_buffer(),
        {},
        "The image has 32 bits a channel; at most 16 are allowed.",
    ),
    "max_metadata_bytes": (
        {"max_metadata_bytes": 5_000},
        with_comments(b"a" * 1_667, 3),
        {},
        "The image carries 5,001 bytes of metadata; at most 5,000 are allowed.",
    ),
    "max_frames": ({"max_frames": 4}, animation(".gif"), KEPT, "The animation has 5 frames; at most 4 are allowed."),
    "max_animation_pixels": (
        {"max_animation_pixels": 11_000},
        animation(".webp"),
        KEPT,
        "The animation has 5 x 60 x 40 = 12,000 pixels in all frames; at most 11,000 are allowed.",
    ),
    "max_svg_bytes": ({"max_svg_bytes": 99}, SVG, {}, "The SVG has 113 bytes; at most 99 are allowed."),
    "max_svg_elements": (
        {"max_svg_elements": 3},
        b"<svg><g/><g/><g/><g/></svg>",
        {},
        "The SVG has 4 elements or more; at most 3 are allowed.",
    ),
    "max_svg_depth": (
        {"max_svg_depth": 3},
        b"<svg><g><g><g><g/></g></g></g></svg>",
        {},
        "The SVG is nested 4 levels deep or more; at most 3 are allowed.",
    ),
    "max_output_pixels": (
        {"max_output_pixels": 9_999},
        SVG,
        {"operations": [{"kind": "resize", "width": 100, "height": 100}]},
        "The rendition would have 100 x 100 = 10,000 pixels; at most 9,999 are allowed.",
    ),
    "max_output_side": (
        {"max_output_side": 1_000},
        SVG,
        {"operations": [{"kind": "resize", "width": 1_001, "height": 10}]},
        "The rendition would be 1,001 px wide; at most 1,000 are allowed.",
    ),
    "memory_bytes": (
        {"memory_bytes": 200 << 20},
        plain(6_000, 6_000, 10, 200, 90).pngsave_buffer(interlace=True),
        {"operations": [{"kind": "resize", "width": 4_400, "height": 4_400}]},
        "The image needs more than 200 MiB of memory; at most 200 are allowed.",
    ),
    "wall_seconds": (
        {"wall_seconds": 2, "cpu_seconds": 2},
        ENDLESS,
        {},
        "The image was not done after 2 s; at most 2 are allowed.",
    ),
    "cpu_seconds": (
        {"cpu_seconds": 1},
        ENDLESS,
        {},
        "The image was not done after 1 s of processor time; at most 1 are allowed.",
    ),
}


@pytest.mark.parametrize("limit", CASES)
def test_an_image_beyond_a_limit_is_rejected_with_its_code_and_both_numbers(limit: str) -> None:
    limits, data, recipe, sentence = CASES[limit]

    error = reject(limits, data, recipe)

    assert error.public == sentence
    assert error.failure is Limits.code_of(limit)


def test_renditions_with_too_many_bytes_are_rejected_with_both_numbers(sandbox: Sandbox) -> None:
    recipe = {"output": {"format": "png"}}
    [made] = sandbox.render(encode(photograph(), "jpeg"), [read_recipe({"name": "x"} | recipe)]).renditions

    error = reject({"max_output_bytes": 10_000}, encode(photograph(), "jpeg"), recipe)

    assert error.public == f"The renditions have {len(made.data):,} bytes together; at most 10,000 are allowed."
    assert error.failure is FailureCode.OUTPUT_TOO_MANY_BYTES


def test_every_limit_with_a_code_has_a_case() -> None:
    assert CASES.keys() | {"max_output_bytes"} == {limit.name for limit in fields(Limits) if Limits.code_of(limit.name)}


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "avif", "tiff"])
def test_a_color_profile_counts_as_metadata_in_every_format(sandbox: Sandbox, name: str) -> None:
    data = encode(photograph(40).icc_transform("p3", input_profile="srgb"), name)

    assert sandbox.render(data, [Recipe(name="x")]).width == 40
    assert reject({"max_metadata_bytes": 400}, data, {}).failure is FailureCode.METADATA_TOO_LARGE


@pytest.mark.parametrize(
    ("times", "code"), [(2, FailureCode.METADATA_TOO_LARGE), (500, FailureCode.DECODER_OUT_OF_MEMORY)]
)
def test_compressed_text_that_unpacks_to_a_bomb_is_rejected(sandbox: Sandbox, times: int, code: FailureCode) -> None:
    """Without the limit, libvips keeps 50 texts of 50 MB each, and skips others without a warning."""
    bomb = with_comments(b"a" * 9_000_000, times)

    with pytest.raises(Rejected) as error:
        sandbox.render(bomb, [Recipe(name="x")])

    assert error.value.failure is code
    assert sandbox.render(SVG, [Recipe(name="x")]).width == 60


def test_the_least_memory_that_may_be_set_is_enough_for_small_images_of_every_format() -> None:
    with closing(Sandbox(Limits(memory_bytes=LEAST_MEMORY), workers=1)) as sandbox:
        for name in FORMATS:
            rendered = sandbox.render(sample(name), [THUMBNAIL], with_metadata=True)
            assert rendered.get(THUMBNAIL.name).width == 100, name
