"""Colors without an ICC profile look as in Chromium. The expected numbers are from its canvas."""

import struct
import zlib

import pytest
import pyvips
from hostile.bombs import join_png
from pipeline.pictures import color_at, decode, encode, plain

from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.operations.resize import Resize
from shared_lib.pipeline.output import OutputOptions
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.sandbox.pool import Sandbox

PNG = Recipe(name="png", output=OutputOptions(format=Format.PNG))
GRAY, RED, ROSE = (0.5, 0.5, 0.5), (0.5, 0.0, 0.0), (0.7, 0.2, 0.2)
P3_POINTS = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
SWAPPED_POINTS = (0.3127, 0.329, 0.3, 0.6, 0.64, 0.33, 0.15, 0.06)

Chunk = tuple[bytes, bytes]


def cicp(primaries: int, curve: int) -> Chunk:
    return b"cICP", bytes([primaries, curve, 0, 1])


def gamma(exponent: float) -> Chunk:
    return b"gAMA", struct.pack(">I", round(exponent * 100_000))


def points(white_first: tuple[float, ...]) -> Chunk:
    return b"cHRM", b"".join(struct.pack(">I", round(number * 100_000)) for number in white_first)


def brightest(nits: float) -> Chunk:
    return b"cLLI", struct.pack(">II", round(nits * 10_000), 0)


def mastered_for(nits: float) -> Chunk:
    return b"mDCV", bytes(16) + struct.pack(">II", round(nits * 10_000), 1)


SRGB: Chunk = (b"sRGB", b"\0")
PROFILE: Chunk = (b"iCCP", b"p3\0\0" + zlib.compress(pyvips.Image.profile_load("p3")))


def png(color: tuple[float, ...], *chunks: Chunk, depth: int = 8) -> bytes:
    """Return one pixel, its values from 0 to 1, in gray or colors, with or without alpha."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[len(color)]
    row = b"".join(round(value * (2**depth - 1)).to_bytes(depth // 8, "big") for value in color)
    header = struct.pack(">IIBBBBB", 1, 1, depth, kind, 0, 0, 0)
    return join_png([(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")])


def render_pixel(sandbox: Sandbox, data: bytes) -> list[int]:
    (rendition,) = sandbox.render(data, [PNG]).renditions
    return color_at(decode(rendition.data), 0, 0)


def near(color: list[int], expected: tuple[int, ...], tolerance: int = 2) -> bool:
    return len(color) == len(expected) and all(abs(a - b) <= tolerance for a, b in zip(color, expected, strict=True))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(
    ("chunks", "color", "expected"),
    [
        pytest.param([cicp(9, 16)], GRAY, (131, 131, 131), id="PQ"),
        pytest.param([cicp(9, 16)], (0.25, 0.25, 0.25), (30, 30, 30), id="PQ, dark"),
        pytest.param([cicp(9, 16)], (0.6875, 0.6875, 0.6875), (236, 236, 236), id="PQ, bright"),
        pytest.param([cicp(9, 16)], RED, (165, 0, 0), id="PQ of BT.2020"),
        pytest.param([cicp(12, 16)], RED, (144, 0, 0), id="PQ of P3"),
        pytest.param([cicp(1, 16)], RED, (131, 0, 0), id="PQ of BT.709"),
        pytest.param([cicp(9, 16), brightest(203)], GRAY, (181, 181, 181), id="PQ no brighter than paper"),
        pytest.param([cicp(9, 16), mastered_for(4000)], (0.75, 0.75, 0.75), (225, 225, 225), id="PQ up to 4,000 nits"),
        pytest.param([cicp(9, 16), mastered_for(4000), brightest(600)], GRAY, (149, 149, 149), id="PQ up to 600 nits"),
        pytest.param([cicp(9, 18)], (0.75, 0.75, 0.75), (188, 188, 188), id="HLG"),
        pytest.param([cicp(9, 18)], ROSE, (183, 0, 31), id="HLG of BT.2020"),
        pytest.param([cicp(12, 13)], ROSE, (195, 33, 44), id="P3"),
        pytest.param([cicp(9, 1)], RED, (153, 0, 0), id="television"),
        pytest.param([cicp(1, 1)], GRAY, (121, 121, 121), id="television of BT.709"),
        pytest.param([cicp(1, 8)], GRAY, (188, 188, 188), id="light"),
        pytest.param([cicp(1, 4)], (0.125, 0.125, 0.125), (26, 26, 26), id="gamma 2.2"),
        pytest.param([cicp(1, 5)], GRAY, (106, 106, 106), id="gamma 2.8"),
        pytest.param([cicp(2, 2)], ROSE, (179, 51, 51), id="unspecified"),
        pytest.param([cicp(200, 200)], ROSE, (179, 51, 51), id="reserved"),
        pytest.param([gamma(1)], GRAY, (188, 188, 188), id="gAMA of light"),
        pytest.param([gamma(0.55)], ROSE, (192, 65, 65), id="gAMA"),
        pytest.param([gamma(0.45455)], ROSE, (179, 51, 51), id="gAMA near sRGB's"),
        pytest.param([gamma(0)], ROSE, (179, 51, 51), id="gAMA of nothing"),
        pytest.param([gamma(0.45455), points(P3_POINTS)], ROSE, (197, 27, 39), id="gAMA and cHRM"),
        pytest.param([gamma(1), points((0.3127, 0.329, *[0] * 6))], GRAY, (128, 128, 128), id="impossible cHRM"),
        pytest.param([points(SWAPPED_POINTS)], ROSE, (179, 51, 51), id="cHRM alone"),
        pytest.param([gamma(1), SRGB], GRAY, (128, 128, 128), id="sRGB before gAMA"),
        pytest.param([gamma(1), PROFILE], RED, (141, 0, 0), id="a profile before gAMA"),
        pytest.param([cicp(1, 13), PROFILE], RED, (128, 0, 0), id="cICP before a profile"),
    ],
)
def test_colors_of_a_png_look_as_in_chromium(
    sandbox: Sandbox, chunks: list[Chunk], color: tuple[float, ...], expected: tuple[int, ...], depth: int
) -> None:
    assert near(render_pixel(sandbox, png(color, *chunks, depth=depth)), expected)


@pytest.mark.parametrize(
    ("chunk", "expected"), [(gamma(1), 188), (cicp(9, 16), 131), (cicp(9, 18), 99), (cicp(12, 13), 128)]
)
def test_gray_stays_gray_and_alpha_is_unchanged(sandbox: Sandbox, chunk: Chunk, expected: int) -> None:
    assert near(render_pixel(sandbox, png((0.5,), chunk)), (expected,))
    assert near(render_pixel(sandbox, png((0.5, 0.2), chunk, depth=16)), (expected, 51))
    assert near(render_pixel(sandbox, png((0.5, 0.5, 0.5, 0.2), chunk)), (expected, expected, expected, 51))


def test_a_profile_that_cicp_overrides_is_not_kept(sandbox: Sandbox) -> None:
    kept = Recipe(name="kept", output=OutputOptions(format=Format.PNG, profile="keep"))

    (rendition,) = sandbox.render(png(RED, cicp(9, 16), PROFILE), [kept]).renditions

    assert decode(rendition.data).get_typeof("icc-profile-data") == 0
    assert near(color_at(decode(rendition.data), 0, 0), (165, 0, 0))


def test_linear_light_is_averaged_by_the_files_colorimetry(sandbox: Sandbox) -> None:
    """Half the light of black and white is 188 in sRGB, whatever number stands for it in the file."""
    lines = pyvips.Image.black(100, 100).draw_rect(255, 0, 0, 50, 100, fill=True)
    data = lines.pngsave_buffer()
    end_of_header = data.index(b"IHDR") + 21
    name, body = gamma(1)
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    recipe = Recipe(
        name="x", operations=(Resize(width=1, height=1, linear=True),), output=OutputOptions(format=Format.PNG)
    )

    (rendition,) = sandbox.render(data[:end_of_header] + chunk + data[end_of_header:], [recipe]).renditions

    assert near(color_at(decode(rendition.data), 0, 0), (188,), 3)


def heif(form: str, primaries: int, curve: int) -> bytes:
    image = plain(64, 64, 128, 40, 40)
    if form == "avif":
        data: bytes = image.heifsave_buffer(compression="av1", lossless=True, effort=0, subsample_mode="off")
    else:
        data = encode(image, form)
    at = data.index(b"nclx") + 4
    return data[:at] + struct.pack(">HH", primaries, curve) + data[at + 4 :]


@pytest.mark.parametrize("form", ["avif", "heic"])
@pytest.mark.parametrize(
    ("primaries", "curve", "expected"),
    [
        (9, 16, (166, 0, 0)),
        (9, 18, (112, 0, 22)),
        (12, 13, (139, 30, 36)),
        (12, 2, (139, 30, 36)),
        (2, 8, (188, 110, 110)),
        (1, 1, (128, 40, 40)),
        (1, 13, (128, 40, 40)),
    ],
)
def test_colors_of_avif_and_heic_look_as_in_chromium(
    sandbox: Sandbox, form: str, primaries: int, curve: int, expected: tuple[int, ...]
) -> None:
    assert near(render_pixel(sandbox, heif(form, primaries, curve)), expected, 3)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(RED, cicp(12, 13)), "display-p3"),
        (png(RED, cicp(12, 16)), "rgb"),
        (png(RED, gamma(1)), "rgb"),
        (png((0.5,), gamma(1)), "gray"),
        (png(RED, SRGB, gamma(1)), "srgb"),
        (heif("avif", 12, 13), "display-p3"),
    ],
)
def test_the_color_space_without_a_profile_is_in_the_metadata(sandbox: Sandbox, data: bytes, expected: str) -> None:
    metadata = sandbox.render(data, [THUMBNAIL], with_metadata=True).metadata

    assert metadata is not None
    assert metadata.color_space == expected
