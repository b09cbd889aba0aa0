"""Rare kinds of each format are shown as browsers show them, or rejected with the real reason."""

import pytest
import pyvips
from hostile.bombs import tiff
from pipeline.pictures import color_at, decode, encode, photograph, plain, save, to_pillow
from pipeline.rare import bmp, frame, gif, lossless_jpeg, run_lengths, with_tag, with_two_tables

from shared_lib.errors import FailureCode, Rejected
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.output import OutputOptions
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.sandbox.pool import Sandbox

PNG = Recipe(name="png", output=OutputOptions(format=Format.PNG))
ANIMATED = Recipe(name="animated", output=OutputOptions(format=Format.GIF, animation="keep"))

CLEAR, RED, GREEN, BLUE = [0, 0, 0, 0], [255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255]


def shown(sandbox: Sandbox, data: bytes) -> pyvips.Image:
    (rendition,) = sandbox.render(data, [PNG], with_metadata=True).renditions
    return decode(rendition.data)


def rejection_of(sandbox: Sandbox, data: bytes) -> Rejected:
    with pytest.raises(Rejected) as rejection:
        sandbox.render(data, [THUMBNAIL], with_metadata=True)
    return rejection.value


@pytest.mark.parametrize("codec", [6, 34_661, 34_712, 34_887, 34_892, 34_925, 50_000, 50_002, 22_610, 34_933])
def test_tiff_tiles_of_a_codec_that_is_not_built_in_are_unsupported_and_not_black(sandbox: Sandbox, codec: int) -> None:
    tiled = plain(64, 64, 200, 30, 30).tiffsave_buffer(tile=True, tile_width=32, tile_height=32)

    rejection = rejection_of(sandbox, with_tag(tiled, 259, codec))

    assert rejection.failure is FailureCode.UNSUPPORTED_FORMAT
    assert rejection.public == "The TIFF image is of a kind that is not read."


@pytest.mark.parametrize("codec", [5, 8, 50_001])
def test_broken_tiff_tiles_are_corrupt_and_not_black(sandbox: Sandbox, codec: int) -> None:
    tiled = plain(64, 64, 200, 30, 30).tiffsave_buffer(tile=True, tile_width=32, tile_height=32)

    assert rejection_of(sandbox, with_tag(tiled, 259, codec)).failure is FailureCode.CORRUPT_IMAGE


@pytest.mark.parametrize("compression", ["none", "lzw", "deflate", "packbits", "jpeg", "webp"])
def test_a_tiled_tiff_is_read(sandbox: Sandbox, compression: str) -> None:
    data = plain(64, 64, 200, 30, 30).tiffsave_buffer(
        tile=True, tile_width=32, tile_height=32, compression=compression, lossless=True
    )

    assert all(abs(a - b) < 4 for a, b in zip(color_at(shown(sandbox, data), 60, 60), [200, 30, 30], strict=True))


@pytest.mark.parametrize(("bits", "kind"), [(6, 1), (24, 1), (64, 1)])
def test_a_tiff_of_unusual_depth_is_unsupported_and_not_corrupt(sandbox: Sandbox, bits: int, kind: int) -> None:
    data = tiff(10, 10, (258, 3, 1, bits), (262, 3, 1, kind), body=bytes(1_000))

    assert rejection_of(sandbox, data).failure is FailureCode.UNSUPPORTED_FORMAT


def test_a_lab_tiff_of_eight_bits_is_unsupported_and_not_corrupt(sandbox: Sandbox) -> None:
    data = with_tag(plain(10, 10, 200, 30, 30).tiffsave_buffer(), 262, 8)

    assert rejection_of(sandbox, data).failure is FailureCode.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(("bands", "expected"), [(5, [10]), (3, [10]), (2, [10, 20])])
def test_extra_channels_of_a_gray_tiff_are_ignored(sandbox: Sandbox, bands: int, expected: list[int]) -> None:
    image = pyvips.Image.black(20, 20, bands=bands) + [10 * n for n in range(1, bands + 1)]
    data = image.cast("uchar").copy(interpretation="b-w").tiffsave_buffer()

    assert color_at(shown(sandbox, with_tag(data, 262, 1)), 0, 0) == expected


def test_extra_channels_of_a_color_tiff_are_ignored(sandbox: Sandbox) -> None:
    image = pyvips.Image.black(20, 20, bands=5).linear(1, [10, 20, 30, 40, 50], uchar=True).copy(interpretation="srgb")

    assert color_at(shown(sandbox, image.tiffsave_buffer()), 0, 0) == [10, 20, 30]


def test_the_thumbnail_of_a_lossless_jpeg_shows_the_whole_image(sandbox: Sandbox) -> None:
    image = photograph(600).colourspace("b-w")

    (thumbnail,) = sandbox.render(lossless_jpeg(image), [THUMBNAIL]).renditions

    expected = decode(sandbox.render(encode(image, "png"), [THUMBNAIL]).renditions[0].data)
    assert (decode(thumbnail.data) - expected).abs().avg() < 3


def test_a_jpeg_that_claims_ycck_but_has_three_channels_is_read(sandbox: Sandbox) -> None:
    data = encode(plain(64, 64, 200, 30, 30), "jpeg")
    end = 4 + int.from_bytes(data[4:6], "big")
    named = data[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\2" + data[end:]

    assert all(abs(a - b) < 4 for a, b in zip(color_at(shown(sandbox, named), 9, 9), [200, 30, 30], strict=True))


def test_a_gif_is_transparent_outside_its_first_frame(sandbox: Sandbox) -> None:
    image = shown(sandbox, gif(20, 20, frame((5, 5, 10, 10), 1)))

    assert [color_at(image, x, y) for x, y in ((0, 0), (5, 5), (14, 14), (15, 15))] == [CLEAR, RED, RED, CLEAR]


def test_a_gif_whose_first_frame_fills_the_screen_is_opaque(sandbox: Sandbox) -> None:
    assert shown(sandbox, gif(20, 20, frame((0, 0, 20, 20), 1))).bands == 3


def test_a_gif_s_screen_is_enlarged_to_fit_its_first_frame(sandbox: Sandbox) -> None:
    rendered = sandbox.render(gif(8, 8, frame((4, 4, 16, 12), 1)), [PNG])

    image = decode(rendered.renditions[0].data)
    assert (rendered.width, rendered.height) == (image.width, image.height) == (20, 16)
    assert [color_at(image, x, y) for x, y in ((3, 3), (4, 4), (19, 15))] == [CLEAR, RED, RED]


def test_a_gif_with_an_empty_screen_is_as_large_as_its_first_frame(sandbox: Sandbox) -> None:
    assert shown(sandbox, gif(0, 0, frame((0, 0, 12, 10), 1))).width == 12


def test_an_animation_on_a_transparent_screen_keeps_its_frames_and_delays(sandbox: Sandbox) -> None:
    data = gif(
        20, 20, frame((5, 5, 10, 10), 1, delay=7), frame((0, 0, 20, 20), 2, delay=9), frame((0, 0, 5, 5), 3, delay=11)
    )

    (rendition,) = sandbox.render(data, [ANIMATED]).renditions

    image = pyvips.Image.gifload_buffer(rendition.data, n=-1)
    assert image.get("delay") == [70, 90, 110]
    assert [color_at(image, 0, y) for y in (0, 20, 40)] == [CLEAR, GREEN, BLUE]


_565, _555, _1555 = (0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F), (0x7C00, 0x3E0, 0x1F, 0x8000)
_4444, _8888 = (0xF00, 0xF0, 0xF, 0xF000), (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
_1010102, _RGBA = (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000), (0xFF000000, 0xFF0000, 0xFF00, 0xFF)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(bmp(16, 0, 40, [0x7C00, 0x83E0]), [RED[:3], GREEN[:3]], id="16 bits"),
        pytest.param(bmp(16, 3, 40, [0xF800, 0x8410], _565), [RED[:3], [132, 130, 132]], id="565"),
        pytest.param(bmp(16, 3, 40, [0x7C00, 0x801F], _555), [RED[:3], BLUE[:3]], id="555"),
        pytest.param(bmp(16, 3, 40, [0xF00, 0x888], _4444[:3]), [RED[:3], [136] * 3], id="444"),
        pytest.param(bmp(16, 3, 56, [0xFF00, 0x80F0], _4444), [RED, [0, 255, 0, 136]], id="4444"),
        pytest.param(bmp(16, 3, 56, [0x7C00, 0x83E0], _1555), [[255, 0, 0, 0], GREEN], id="1555"),
        pytest.param(bmp(16, 6, 40, [0xFF00, 0x80F0], _4444), [RED, [0, 255, 0, 136]], id="alpha bitfields"),
        pytest.param(bmp(32, 0, 40, [0x80FF0000, 0xFF00]), [RED[:3], GREEN[:3]], id="32 bits"),
        pytest.param(bmp(32, 0, 56, [0x80FF0000, 0xFF00], _8888), [RED[:3], GREEN[:3]], id="32 bits, third version"),
        pytest.param(bmp(32, 0, 108, [0x80FF0000, 0xFF00FF00], _8888), [[255, 0, 0, 128], GREEN], id="fourth version"),
        pytest.param(bmp(32, 3, 124, [0x80FF0000, 0xFF00FF00], _8888), [[255, 0, 0, 128], GREEN], id="fifth version"),
        pytest.param(bmp(32, 3, 56, [0xFF000080, 0xFF00FF], _RGBA), [[255, 0, 0, 128], GREEN], id="another order"),
        pytest.param(bmp(32, 3, 56, [0xFFF00000, 0x400FFC00], _1010102), [RED, [0, 255, 0, 85]], id="ten bits"),
        pytest.param(bmp(32, 3, 40, [0xFF0000, 0xFF00], (0xFF0000, 0, 0)), [RED[:3], [0, 0, 0]], id="red alone"),
    ],
)
def test_a_bitmap_with_masks_is_read(sandbox: Sandbox, data: bytes, expected: list[list[int]]) -> None:
    image = shown(sandbox, data)

    assert [color_at(image, x, 0) for x in range(2)] == expected


def test_a_bitmap_s_rows_are_bottom_up_unless_its_height_is_negative(sandbox: Sandbox) -> None:
    column = bytearray(bmp(32, 3, 40, [0xFF0000, 0xFF00], _8888[:3]))
    column[18:26] = (1).to_bytes(4, "little") + (2).to_bytes(4, "little")
    assert color_at(shown(sandbox, bytes(column)), 0, 0) == GREEN[:3]

    column[22:26] = (-2).to_bytes(4, "little", signed=True)
    assert color_at(shown(sandbox, bytes(column)), 0, 0) == RED[:3]


def test_bitmap_masks_with_gaps_are_unsupported(sandbox: Sandbox) -> None:
    rejection = rejection_of(sandbox, bmp(32, 3, 40, [0, 0], (0xF0F00000, 0xFF00, 0xFF)))

    assert rejection.failure is FailureCode.UNSUPPORTED_FORMAT


_PALETTE = bytes((0, 0, 255, 0)) + bytes((0, 255, 0, 0)) + bytes((255, 0, 0, 0))  # red, green, blue
_CLEAR = [*RED[:3], 0]  # the first color of the palette, transparent
_TOP_LEFT_ONLY = [[BLUE, _CLEAR, _CLEAR, _CLEAR], [_CLEAR] * 4]


@pytest.mark.parametrize(
    ("bits", "data", "expected"),
    [
        pytest.param(8, "0400 0000 0202 0201 0000 0001", [[BLUE, BLUE, GREEN, GREEN], [RED] * 4], id="runs"),
        pytest.param(8, "0003 000102 00 0101 0000 0400 0001", [[RED] * 4, [RED, GREEN, BLUE, GREEN]], id="as they are"),
        pytest.param(8, "0400 0000 0400", [[RED] * 4] * 2, id="without an end"),
        pytest.param(4, "0401 0000 0003 0120 0201 0001", [[RED, GREEN, BLUE, RED], [RED, GREEN] * 2], id="four bits"),
        pytest.param(8, "0000 0102 0001", _TOP_LEFT_ONLY, id="ends early"),
        pytest.param(8, "0002 0001 0102 0001", _TOP_LEFT_ONLY, id="moves"),
        pytest.param(4, "0000 0122 0001", _TOP_LEFT_ONLY, id="four bits, ends early"),
    ],
)
def test_a_bitmap_of_run_lengths_is_read(
    sandbox: Sandbox, bits: int, data: str, expected: list[list[list[int]]]
) -> None:
    image = shown(sandbox, run_lengths(bits, 4, 2, bytes.fromhex(data), _PALETTE))

    bands = image.bands
    assert [[color_at(image, x, y) for x in range(4)] for y in range(2)] == [
        [color[:bands] for color in row] for row in expected
    ]


def test_run_lengths_that_break_off_are_corrupt(sandbox: Sandbox) -> None:
    data = run_lengths(8, 4, 2, bytes.fromhex("0400 0000 0202"), _PALETTE)

    assert rejection_of(sandbox, data).failure is FailureCode.CORRUPT_IMAGE


def test_a_truncated_bitmap_is_corrupt(sandbox: Sandbox) -> None:
    whole = bmp(32, 3, 40, [0, 0], _8888[:3])

    assert rejection_of(sandbox, whole[:-4]).failure is FailureCode.CORRUPT_IMAGE


def test_a_bitmap_s_embedded_profile_is_used(sandbox: Sandbox) -> None:
    data = bytearray(bmp(32, 3, 124, [0x800000] * 2, _8888[:3]))
    profile = pyvips.Image.profile_load("p3")
    data[70:74] = b"DEBM"
    data[126:134] = (len(data) - 14).to_bytes(4, "little") + len(profile).to_bytes(4, "little")

    red, green, blue = color_at(shown(sandbox, bytes(data) + profile), 0, 0)

    assert abs(red - 141) < 3
    assert green == blue == 0


@pytest.mark.parametrize("header", [16, 40])
@pytest.mark.parametrize("colors", [0, 4, 300])
def test_a_bitmap_of_two_bits_per_pixel_is_read(sandbox: Sandbox, header: int, colors: int) -> None:
    """Its palette is black, red, green and blue."""
    if header == 16 and colors:
        return  # this header has no number of colors
    fields = b"".join(number.to_bytes(size, "little") for number, size in ((header, 4), (5, 4), (1, 4), (1, 2), (2, 2)))
    fields += b"".join(number.to_bytes(4, "little") for number in (0, 0, 0, 0, colors, 0)) if header == 40 else b""
    palette = bytes([0, 0, 0, 0, 0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0])
    start = 14 + len(fields) + len(palette)
    data = b"BM" + bytes(8) + start.to_bytes(4, "little") + fields + palette + bytes([0b00011011, 0b01000000, 0, 0])

    image = shown(sandbox, data).colourspace("srgb")

    assert [color_at(image, x, 0)[:3] for x in range(5)] == [[0, 0, 0], RED[:3], GREEN[:3], BLUE[:3], RED[:3]]


def test_an_avif_whose_properties_are_in_two_tables_is_read(sandbox: Sandbox) -> None:
    data = encode(plain(64, 64, 200, 30, 30, 128), "avif")

    broken, whole = shown(sandbox, with_two_tables(data)), shown(sandbox, data)

    assert (broken - whole).abs().max() == 0


def test_an_avif_that_only_libheif_accepts_is_read(sandbox: Sandbox) -> None:
    """Its alpha has no `ispe` property."""
    data = encode(plain(64, 64, 200, 30, 30, 128), "avif")
    table = data.index(b"ipma") - 4
    alpha = table + 16 + 3 + data[table + 18]
    sizeless = data[: alpha + 4] + data[alpha + 3 : alpha + 4] * 2 + data[alpha + 6 :]

    assert color_at(shown(sandbox, sizeless), 9, 9)[3] == 128


def test_the_orientation_in_an_avif_s_xmp_is_ignored(sandbox: Sandbox) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = save(to_pillow(plain(60, 40, 200, 30, 30)), "AVIF", xmp=xmp)

    assert sandbox.render(data, [PNG]).width == 60
