"""Hostile and broken bytes are rejected with a code and a sentence, and do no harm."""

import contextlib

import pytest
from hostile.bombs import CLAIMS, QUICK_BOMBS, one_bit, png
from hostile.mutants import mutate
from pipeline.pictures import FORMATS, RASTER_FORMATS, encode, photograph, sample, save, to_pillow

from shared_lib.errors import FailureCode, Rejected
from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.sandbox.pool import Sandbox

REJECTIONS = {
    FailureCode.EMPTY_FILE,
    FailureCode.UNSUPPORTED_FORMAT,
    FailureCode.CORRUPT_IMAGE,
    FailureCode.TOO_MANY_PIXELS,
    FailureCode.SIDE_TOO_LONG,
    FailureCode.TOO_MANY_CHANNELS,
    FailureCode.TOO_MANY_BITS,
    FailureCode.DECODER_OUT_OF_MEMORY,
}


def rejection_of(sandbox: Sandbox, data: bytes) -> Rejected:
    with pytest.raises(Rejected) as rejection:
        sandbox.render(data, [THUMBNAIL])
    return rejection.value


def test_an_empty_file_is_rejected_as_empty(sandbox: Sandbox) -> None:
    assert rejection_of(sandbox, b"").failure is FailureCode.EMPTY_FILE


@pytest.mark.parametrize("name", CLAIMS)
@pytest.mark.parametrize(
    ("size", "code", "found"),
    [
        (
            (16_000, 15_000),
            FailureCode.TOO_MANY_PIXELS,
            "has 16,000 x 15,000 = 240,000,000 pixels; at most 100,000,000",
        ),
        (
            (16_383, 16_383),
            FailureCode.TOO_MANY_PIXELS,
            "has 16,383 x 16,383 = 268,402,689 pixels; at most 100,000,000",
        ),
        ((30_001, 2), FailureCode.SIDE_TOO_LONG, "is 30,001 px wide; at most 30,000"),
        ((2, 30_001), FailureCode.SIDE_TOO_LONG, "is 30,001 px high; at most 30,000"),
        ((65_000, 65_000), FailureCode.SIDE_TOO_LONG, "is 65,000 px wide; at most 30,000"),
    ],
)
def test_a_header_that_claims_too_many_pixels_is_rejected_before_decoding(
    sandbox: Sandbox, name: str, size: tuple[int, int], code: FailureCode, found: str
) -> None:
    rejection = rejection_of(sandbox, CLAIMS[name](*size))

    assert rejection.failure is code
    assert rejection.public == f"The image {found} are allowed."


# A GIF's frames may be smaller than its canvas, and an AVIF's are scaled to it.
@pytest.mark.parametrize("name", sorted(CLAIMS.keys() - {"gif", "avif"}))
def test_a_header_that_claims_more_pixels_than_there_are_is_corrupt(sandbox: Sandbox, name: str) -> None:
    assert rejection_of(sandbox, CLAIMS[name](6_000, 6_000)).failure is FailureCode.CORRUPT_IMAGE


@pytest.mark.parametrize("name", ["bmp", "heic", "png", "tiff"])  # a GIF's first frame has its own size
@pytest.mark.parametrize("size", [(0, 0), (0, 10), (10, 0)])
def test_an_image_without_any_pixel_is_corrupt(sandbox: Sandbox, name: str, size: tuple[int, int]) -> None:
    assert rejection_of(sandbox, CLAIMS[name](*size)).failure is FailureCode.CORRUPT_IMAGE


def test_a_bomb_within_the_pixel_limit_is_processed_as_a_large_image(sandbox: Sandbox) -> None:
    bomb = one_bit(10_000, 10_000)
    assert len(bomb) < 100_000

    assert sandbox.render(bomb, [THUMBNAIL]).width == 10_000


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_truncated_anywhere_is_rejected(sandbox: Sandbox, name: str) -> None:
    # Upright, so that a thumbnail does not need the last rows. Decoders do not notice when GIF's last byte is missing.
    data = encode(photograph(120).rot90(), name)
    end = len(data) - (2 if name == "gif" else 1)

    codes = {rejection_of(sandbox, data[:length]).failure for length in [*range(0, end, max(1, end // 60)), end]}

    assert codes <= {FailureCode.EMPTY_FILE, FailureCode.UNSUPPORTED_FORMAT, FailureCode.CORRUPT_IMAGE}


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_after_the_end_are_ignored(sandbox: Sandbox, name: str) -> None:
    trailer = b"\n<!-- -->" if name == "svg" else b"PK\x03\x04" + sample("jpeg")

    assert sandbox.render(sample(name) + trailer, [THUMBNAIL]).format == name


@pytest.mark.parametrize("marker", [b"\xff\xdb", b"\xff\xda", b"\xff\xd9"])
def test_stray_bytes_before_a_jpeg_marker_are_ignored(sandbox: Sandbox, marker: bytes) -> None:
    data = encode(photograph(60), "jpeg")
    at = data.rindex(marker)

    assert sandbox.render(data[:at] + b"\x12\xff\0\x34\x56" + data[at:], [THUMBNAIL]).width == 60


def test_a_jpeg_without_its_middle_is_corrupt(sandbox: Sandbox) -> None:
    data = encode(photograph(200), "jpeg")

    assert rejection_of(sandbox, data[: len(data) // 2] + data[-2:]).failure is FailureCode.CORRUPT_IMAGE


def test_a_webp_whose_pixels_end_early_is_corrupt_even_if_metadata_follow(sandbox: Sandbox) -> None:
    data = save(to_pillow(photograph(200)), "WEBP", exif=b"Exif\0\0II" + bytes(20_000))
    at = data.index(b"VP8 ")
    end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    rest = data[:at] + b"VP8 " + (2_000).to_bytes(4, "little") + data[at + 8 : at + 2_008] + data[end + end % 2 :]
    short = b"RIFF" + (len(rest) - 8).to_bytes(4, "little") + rest[8:]

    assert sandbox.render(data, [THUMBNAIL]).width == 200
    assert rejection_of(sandbox, short).failure is FailureCode.CORRUPT_IMAGE


def test_a_webp_with_corrupt_transparency_is_corrupt(sandbox: Sandbox) -> None:
    data = bytearray(save(to_pillow(photograph(200).bandjoin(photograph(200)[0])), "WEBP"))
    at = data.index(b"ALPH") + 8
    data[at + 20 : at + 60] = bytes(range(215, 255))

    assert rejection_of(sandbox, bytes(data)).failure is FailureCode.CORRUPT_IMAGE


@pytest.mark.parametrize("metadata", ["strip", "copyright", "keep"])
@pytest.mark.parametrize("keyword", ["Größe".encode("latin-1"), b"\xff  "], ids=["Latin-1", "nothing"])
def test_a_png_s_text_keywords_may_be_any_bytes(sandbox: Sandbox, keyword: bytes, metadata: str) -> None:
    data = png(10, 10, (b"tEXt", keyword + b"\0three by four"), rows=bytes(310))
    recipe = read_recipe({"name": "x", "output": {"metadata": metadata}})

    assert sandbox.render(data, [recipe], with_metadata=True).get("x").width == 10


@pytest.mark.parametrize("name", FORMATS)
def test_mutants_are_accepted_or_rejected(sandbox: Sandbox, name: str) -> None:
    original = encode(photograph(60), name)

    for number in range(60):
        mutant = mutate(original, f"{name} {number}")
        try:
            rendered = sandbox.render(mutant, [THUMBNAIL])
        except Rejected as rejection:
            assert rejection.failure in REJECTIONS, mutant.hex()  # noqa: PT017  # both outcomes are allowed
        else:
            assert rendered.renditions[0].width == 100


@pytest.mark.parametrize("name", QUICK_BOMBS)
def test_bombs_are_accepted_or_rejected(sandbox: Sandbox, name: str) -> None:
    for bomb in QUICK_BOMBS[name]().values():
        with contextlib.suppress(Rejected):
            sandbox.render(bomb, [THUMBNAIL])


@pytest.mark.parametrize("first", RASTER_FORMATS)
@pytest.mark.parametrize("second", RASTER_FORMATS)
def test_a_polyglot_is_never_decoded_as_its_second_format(sandbox: Sandbox, first: str, second: str) -> None:
    if first == second:
        return
    polyglot = sample(first)[:18] + sample(second)

    # Another format's bytes may give a WebP any size.
    assert rejection_of(sandbox, polyglot).failure in {
        FailureCode.CORRUPT_IMAGE,
        FailureCode.TOO_MANY_PIXELS,
        FailureCode.SIDE_TOO_LONG,
        FailureCode.UNSUPPORTED_FORMAT,  # a kind of bitmap that does not exist
    }
