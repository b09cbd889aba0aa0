"""Animations are kept through every operation, within limits, if requested. Otherwise their first frame is used."""

import io
import random
import re
import struct
import zlib
from typing import Any

import pytest
import pyvips
from PIL import ExifTags, Image
from pipeline.pictures import (
    DELAYS,
    animation,
    color_at,
    decode,
    encode,
    from_pillow,
    photograph,
    plain,
    save,
    to_pillow,
)
from pydantic import ValidationError

from shared_lib.errors import FailureCode, Rejected
from shared_lib.limits import Limits
from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.rendition import Rendition
from shared_lib.pipeline.sandbox.pool import Sandbox


def keep(sandbox: Sandbox, data: bytes, *operations: dict[str, Any], **output: Any) -> Rendition:
    recipe = read_recipe({"name": "x", "operations": operations, "output": {"animation": "keep", **output}})
    return sandbox.render(data, [recipe]).get("x")


def frames_of(data: bytes) -> pyvips.Image:
    """Return all frames, one below the other. Pillow reads those of PNG, because libvips does not."""
    if data.startswith(b"\x89PNG"):
        return _frames_of_png(Image.open(io.BytesIO(data)))
    return pyvips.Image.new_from_buffer(data, "", n=-1).copy_memory()


def _frames_of_png(image: Image.Image) -> pyvips.Image:
    frames, delays = [], []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        frames.append(from_pillow(image.convert("RGBA")))
        delays.append(round(image.info.get("duration", 0)))
    tall = pyvips.Image.arrayjoin(frames, across=1).copy()
    for name, value in (("page-height", image.height), ("n-pages", len(frames)), ("loop", image.info.get("loop", 0))):
        tall.set_type(pyvips.GValue.gint_type, name, value)
    tall.set_type(pyvips.GValue.array_int_type, "delay", delays)
    return tall


@pytest.mark.parametrize("source", [".gif", ".webp", ".png"])
@pytest.mark.parametrize("to", ["source", "gif", "webp", "png", "auto"])
def test_frames_delays_and_loops_are_kept(sandbox: Sandbox, source: str, to: str) -> None:
    made = keep(sandbox, animation(source), {"kind": "resize", "width": 30, "height": 30}, format=to)

    image = frames_of(made.data)
    assert (made.width, made.height) == (30, 30)
    assert (image.get("page-height"), image.get("n-pages"), image.get("loop")) == (30, 5, 3)
    assert image.get("delay") == DELAYS
    assert [abs(color_at(image, 15, 30 * n + 15)[0] - 50 * n) < 12 for n in range(5)] == [True] * 5


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
@pytest.mark.parametrize("source", [".gif", ".png"])
def test_operations_are_applied_to_each_frame_alone(sandbox: Sandbox, operation: dict[str, Any], source: str) -> None:
    made = keep(sandbox, animation(source), operation)

    image = frames_of(made.data)
    assert image.get("n-pages") == 5
    reds = [color_at(image, made.width // 2, made.height * n + made.height // 2)[0] for n in range(5)]
    assert all(abs(red - 50 * n) < 12 for n, red in enumerate(reds))


@pytest.mark.parametrize("source", [".gif", ".webp", ".png"])
def test_the_first_frame_is_taken_unless_the_animation_is_kept(sandbox: Sandbox, source: str) -> None:
    (thumbnail,) = sandbox.render(animation(source), [THUMBNAIL]).renditions

    image = decode(thumbnail.data)
    assert image.height == 100
    assert color_at(image, 50, 50)[0] < 12


@pytest.mark.parametrize("name", ["jpeg", "png", "gif", "webp", "avif", "tiff", "bmp", "heic", "jxl", "svg"])
def test_a_still_image_stays_one_frame(sandbox: Sandbox, name: str) -> None:
    assert decode(keep(sandbox, encode(photograph(60), name)).data).height == 40


def test_pages_of_a_tiff_are_not_frames(sandbox: Sandbox) -> None:
    assert decode(keep(sandbox, animation(".tif")).data).height == 40


def long_gif(frames: int, side: int) -> bytes:
    """Repeat the second and the third frame of an animation."""
    data = animation(".gif", frames=3, width=side, height=side)
    second = frame_starts(data)[1]
    return data[:second] + data[second:-1] * ((frames - 1) // 2) + data[-1:]


def frame_starts(gif: bytes | bytearray) -> list[int]:
    """Find each frame's graphic control extension, with the image descriptor behind it."""
    return [at.start() for at in re.finditer(rb"\x21\xf9\x04....\0\x2c", gif, re.DOTALL)]


def test_frames_of_an_animation_that_is_not_kept_are_not_decoded() -> None:
    """Decoded, they would take 1.2 GB."""
    data = long_gif(frames=10_001, side=200)
    assert len(frame_starts(data)) == 10_001
    sandbox = Sandbox(
        Limits(max_frames=4, max_animation_pixels=1_000, memory_bytes=256 << 20, cpu_seconds=2), workers=1
    )

    assert sandbox.render(data, [THUMBNAIL]).width == 200
    sandbox.close()


def test_the_size_of_an_animated_rendition_is_that_of_a_frame(sandbox: Sandbox) -> None:
    made = keep(sandbox, long_gif(frames=101, side=100))

    assert (made.width, made.height) == (100, 100)
    assert frames_of(made.data).height == 10_100


@pytest.mark.parametrize(("left", "width", "height"), [(0, 60_000, 60_000), (0, 100, 90), (50, 60, 40)])
def test_a_frame_beyond_the_canvas_is_cropped(sandbox: Sandbox, left: int, width: int, height: int) -> None:
    data = bytearray(animation(".gif"))
    second = frame_starts(data)[1]
    data[second + 9 : second + 17] = struct.pack("<HHHH", left, 0, width, height)

    made = keep(sandbox, bytes(data))

    assert (made.width, made.height, frames_of(made.data).get("n-pages")) == (60, 40, 5)


@pytest.mark.parametrize(
    "recipe",
    [
        {"output": {"animation": "keep", "format": "jpeg"}},
        {"output": {"animation": "keep", "format": "jxl"}},
        {"output": {"animation": "keep"}, "operations": [{"kind": "trim"}]},
        {
            "output": {"animation": "keep"},
            "operations": [{"kind": "cropToRatio", "width": 1, "height": 1, "gravity": "smart"}],
        },
    ],
)
def test_formats_and_operations_that_animations_cannot_have_are_invalid(recipe: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read_recipe({"name": "x", **recipe})


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_by_hand(frames: list[tuple[pyvips.Image, int]], dispose: int, blend: int) -> bytes:
    """Write frames, each with the place of its corner from the left and the top. The first is the canvas."""
    canvas = frames[0][0]
    depth, kind = 8 * (1 + (canvas.format == "ushort")), {1: 0, 3: 2, 4: 6}[canvas.bands]
    data = b"\x89PNG\r\n\x1a\n" + _chunk(
        b"IHDR", struct.pack(">IIBBBBB", canvas.width, canvas.height, depth, kind, 0, 0, 0)
    )
    data += _chunk(b"acTL", struct.pack(">II", len(frames), 0))
    for number, (image, place) in enumerate(frames):
        sequence = max(0, 2 * number - 1)
        control = struct.pack(">IIIIIHHBB", sequence, image.width, image.height, place, place, 1, 10, dispose, blend)
        stored = image.byteswap() if depth == 16 else image
        rows = (stored.crop(0, y, image.width, 1).write_to_memory() for y in range(image.height))
        pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
        data += _chunk(b"fcTL", control)
        data += _chunk(b"fdAT", struct.pack(">I", sequence + 1) + pixels) if number else _chunk(b"IDAT", pixels)
    return data + _chunk(b"IEND", b"")


@pytest.mark.parametrize("dispose", [0, 1, 2])
@pytest.mark.parametrize("blend", [0, 1])
def test_frames_of_a_png_are_composited_by_their_dispose_and_blend(sandbox: Sandbox, dispose: int, blend: int) -> None:
    """A square with a hole moves over a ground. The expectation follows PNG, third edition, 11.3.7.2."""
    ground = plain(40, 40, 0, 0, 200, 255)
    square = plain(10, 10, 255, 0, 0, 255).insert(plain(4, 4, 0, 0, 0, 0), 3, 3)
    data = _png_by_hand([(ground, 0), *((square, place) for place in (5, 15, 25))], dispose, blend)
    # Disposing of the first frame by restoring the canvas clears it, because the canvas was empty.
    canvas = ground if dispose == 0 else plain(40, 40, 0, 0, 0, 0)
    expected = [ground]
    for place in (5, 15, 25):
        under = canvas.crop(place, place, 10, 10)
        drawn = (square[3] > 0).ifthenelse(square, under) if blend else square
        expected.append(canvas.insert(drawn, place, place))
        cleared = canvas.insert(plain(10, 10, 0, 0, 0, 0), place, place)
        canvas = [expected[-1], cleared, canvas][dispose]

    image = frames_of(keep(sandbox, data).data)

    assert image.get("delay") == [100] * 4
    assert (image - pyvips.Image.arrayjoin(expected, across=1)).abs().max() == 0


def _with_default_image(default: pyvips.Image) -> bytes:
    frames = [to_pillow(plain(20, 20, 50 * n, 0, 0)) for n in range(3)]
    return save(
        to_pillow(default), "PNG", save_all=True, default_image=True, append_images=frames, duration=[70, 80, 90]
    )


def test_the_default_image_of_a_png_is_only_used_for_still_renditions(sandbox: Sandbox) -> None:
    data = _with_default_image(plain(20, 20, 0, 255, 0))

    (thumbnail,) = sandbox.render(data, [THUMBNAIL]).renditions
    image = frames_of(keep(sandbox, data).data)

    assert color_at(decode(thumbnail.data), 50, 50) == [0, 255, 0]
    assert image.get("delay") == [70, 80, 90]
    assert [color_at(image, 5, 20 * n)[:3] for n in range(3)] == [[50 * n, 0, 0] for n in range(3)]


def test_an_animation_in_16_bit_gray_is_kept(sandbox: Sandbox) -> None:
    frames = [(plain(20, 20, n).cast("ushort") * 257).cast("ushort") for n in (30, 90, 150)]
    data = _png_by_hand([(frame, 0) for frame in frames], 0, 0)

    image = frames_of(keep(sandbox, data).data)

    assert [color_at(image, 5, 20 * n)[0] for n in range(3)] == [30, 90, 150]


@pytest.mark.parametrize("colors", [2, 4, 16, 256])
def test_all_frames_of_a_png_share_one_palette(sandbox: Sandbox, colors: int) -> None:
    image = frames_of(keep(sandbox, animation(".png"), format="png", colors=colors).data)

    assert sum(image.get("delay")) == sum(DELAYS)
    assert len({tuple(color_at(image, 5, y)) for y in range(5, image.height, 40)}) in {min(colors, 5), 2, 3, 4}


def test_the_profile_of_an_animated_png_is_kept_as_requested(sandbox: Sandbox) -> None:
    first, *others = (to_pillow(plain(20, 20, 50 * n, 0, 0)) for n in range(3))
    profile = plain(1, 1, 1, 2, 3).icc_transform("p3", input_profile="srgb").get("icc-profile-data")
    data = save(first, "PNG", save_all=True, append_images=others, duration=50, icc_profile=profile)

    assert b"iCCP" not in keep(sandbox, data).data
    assert Image.open(io.BytesIO(keep(sandbox, data, profile="keep").data)).info["icc_profile"] == profile


def _first(data: bytes, kind: bytes, number: int = 1) -> slice:
    at = -1
    for _ in range(number):
        at = data.index(kind, at + 1)
    return slice(at - 4, at + 8 + int.from_bytes(data[at - 4 : at], "big"))


def _replace(data: bytes, where: slice, kind: bytes, body: bytes) -> bytes:
    return data[: where.start] + _chunk(kind, body) + data[where.stop :]


@pytest.mark.parametrize("size", [(61, 40), (60, 41), (30_000, 30_000), (0, 0), (2**31, 1)])
def test_a_later_frame_larger_than_the_canvas_is_corrupt(sandbox: Sandbox, size: tuple[int, int]) -> None:
    data = animation(".png")
    second = _first(data, b"fcTL", 2)
    body = data[second][8:12] + struct.pack(">II", *size) + data[second][20:-4]

    with pytest.raises(Rejected) as error:
        keep(sandbox, _replace(data, second, b"fcTL", body))

    assert error.value.failure is FailureCode.CORRUPT_IMAGE
    assert sandbox.render(data, [THUMBNAIL]).width == 60


@pytest.mark.parametrize(
    ("frames", "code"), [(6, "corrupt_image"), (301, "too_many_frames"), (2**31, "too_many_frames")]
)
def test_a_png_that_claims_more_frames_than_it_has_is_rejected(sandbox: Sandbox, frames: int, code: str) -> None:
    data = animation(".png")

    with pytest.raises(Rejected) as error:
        keep(sandbox, _replace(data, _first(data, b"acTL"), b"acTL", struct.pack(">II", frames, 0)))

    assert error.value.failure == code


@pytest.mark.parametrize("name", ["png", "webp"])
def test_every_frame_is_turned_upright(sandbox: Sandbox, name: str) -> None:
    """Red is stored on the left. Upright, it is at the top."""
    lying = plain(20, 40, 200, 0, 0).join(plain(40, 40, 0, 0, 200), "horizontal")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    first, *others = (to_pillow(lying.insert(plain(5, 5, n, n, n), 30, 30)) for n in (60, 120, 180))
    data = save(first, name, save_all=True, append_images=others, duration=50, exif=exif.tobytes())

    made = keep(sandbox, data)

    image = frames_of(made.data)
    assert (made.width, made.height, image.get("n-pages"), image.get("page-height")) == (40, 60, 3, 60)
    reds = [[color_at(image, 20, 60 * n + y)[0] > 100 for y in (5, 55)] for n in range(3)]
    assert reds == [[True, False]] * 3


@pytest.mark.parametrize(("loops", "kept"), [(0, 0), (1, 1), (65_535, 65_535), (2**32 - 1, 65_535)])
@pytest.mark.parametrize("to", ["png", "gif", "webp"])
def test_loops_are_capped_at_what_every_format_can_store(sandbox: Sandbox, loops: int, kept: int, to: str) -> None:
    data = animation(".png")

    made = keep(sandbox, _replace(data, _first(data, b"acTL"), b"acTL", struct.pack(">II", 5, loops)), format=to)

    assert frames_of(made.data).get("loop") == kept


EXPLAINED = {
    FailureCode.CORRUPT_IMAGE,
    FailureCode.TOO_MANY_PIXELS,
    FailureCode.SIDE_TOO_LONG,
    FailureCode.TOO_MANY_FRAMES,
    FailureCode.ANIMATION_TOO_LARGE,
}


def test_a_mutated_animated_png_is_either_accepted_or_rejected(sandbox: Sandbox) -> None:
    """Checksums are corrected, because otherwise they would be the only error found."""
    original, chance = animation(".png"), random.Random("png")
    controls = [at for kind in (b"acTL", b"fcTL", b"fdAT") for at in _find_all(original, kind)]

    for _ in range(300):
        mutant = bytearray(original)
        for _ in range(chance.choice([1, 1, 3])):
            mutant[chance.choice(controls) + chance.randrange(4, 30)] = chance.choice(
                [0, 1, 255, chance.randrange(256)]
            )
        try:
            keep(sandbox, _with_right_checksums(mutant))
        except Rejected as error:
            assert error.failure in EXPLAINED, mutant.hex()  # noqa: PT017  # both outcomes are right


def _find_all(data: bytes, kind: bytes) -> list[int]:
    return [match.start() for match in re.finditer(kind, data)]


def _with_right_checksums(data: bytearray) -> bytes:
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))[: max(0, len(data) - end)]
        at = end + 4
    return bytes(data)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_png_that_ends_between_its_frames_is_corrupt(sandbox: Sandbox, share: float) -> None:
    data = animation(".png")

    with pytest.raises(Rejected) as error:
        keep(sandbox, data[: int(len(data) * share)] + data[-12:])

    assert error.value.failure is FailureCode.CORRUPT_IMAGE
