"""Bytes that mean harm, or are broken: each is refused by a name and a sentence, and nothing else happens."""

import random
import struct
import zlib

import pytest
from pipeline.pictures import FORMATS, RASTER_FORMATS, encode, photograph, plain, sample

from shared_lib.errors import FailureCode, Rejected
from shared_lib.pipeline import THUMBNAIL, DecoderBox

REFUSALS = {
    FailureCode.EMPTY_FILE,
    FailureCode.UNSUPPORTED_FORMAT,
    FailureCode.CORRUPT_IMAGE,
    FailureCode.TOO_MANY_PIXELS,
    FailureCode.SIDE_TOO_LONG,
    FailureCode.TOO_MANY_CHANNELS,
    FailureCode.TOO_MANY_BITS,
    FailureCode.DECODER_OUT_OF_MEMORY,
}


def refusal_of(box: DecoderBox, data: bytes) -> Rejected:
    with pytest.raises(Rejected) as refusal:
        box.render(data, [THUMBNAIL])
    return refusal.value


def test_nothing_is_refused_as_nothing(box: DecoderBox) -> None:
    assert refusal_of(box, b"").failure is FailureCode.EMPTY_FILE


def _png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def _jpeg(width: int, height: int) -> bytes:
    data = bytearray(sample("jpeg"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _gif(width: int, height: int) -> bytes:
    data = sample("gif")
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def _webp(width: int, height: int) -> bytes:
    data = encode(plain(10, 10, 1, 2, 3, 4), "webp")  # with alpha, hence with VP8X
    return data[:24] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + data[30:]


def _avif(width: int, height: int) -> bytes:
    data = bytearray(sample("avif"))
    size = data.index(b"ispe")
    data[size + 8 : size + 16] = struct.pack(">II", width, height)
    return bytes(data)


def _tiff(width: int, height: int) -> bytes:
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 10)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(100)


def _bmp(width: int, height: int) -> bytes:
    data = sample("bmp")
    return data[:18] + struct.pack("<ii", width, height) + data[26:]


def _heic(width: int, height: int) -> bytes:
    data = bytearray(sample("heic"))
    size = data.index(b"ispe")
    data[size + 8 : size + 16] = struct.pack(">II", width, height)
    return bytes(data)


def _jxl(width: int, height: int) -> bytes:
    sides = [(0, 1), (3, 2), (height - 1, 30), (0, 3), (3, 2), (width - 1, 30), (1, 1)]  # values and their bits
    header = start = 0
    for value, bits in sides:
        header |= value << start
        start += bits
    return b"\xff\x0a" + header.to_bytes(9, "little") + sample("jxl")[8:]


HEADERS = {"png": _png, "jpeg": _jpeg, "gif": _gif, "webp": _webp, "avif": _avif, "tiff": _tiff}
HEADERS |= {"bmp": _bmp, "heic": _heic, "jxl": _jxl}


@pytest.mark.parametrize("name", HEADERS)
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
def test_a_header_that_claims_too_much_is_refused_before_anything_is_decoded(
    box: DecoderBox, name: str, size: tuple[int, int], code: FailureCode, found: str
) -> None:
    refusal = refusal_of(box, HEADERS[name](*size))

    assert refusal.failure is code
    assert refusal.public == f"The image {found} are allowed."


# A GIF's frames may be smaller than its canvas, and an AVIF's are scaled to it.
@pytest.mark.parametrize("name", sorted(HEADERS.keys() - {"gif", "avif"}))
def test_a_header_that_claims_more_than_there_is_is_corrupt(box: DecoderBox, name: str) -> None:
    assert refusal_of(box, HEADERS[name](6_000, 6_000)).failure is FailureCode.CORRUPT_IMAGE


@pytest.mark.parametrize("name", ["bmp", "gif", "heic", "png", "tiff"])
@pytest.mark.parametrize("size", [(0, 0), (0, 10), (10, 0)])
def test_an_image_without_any_pixel_is_corrupt(box: DecoderBox, name: str, size: tuple[int, int]) -> None:
    assert refusal_of(box, HEADERS[name](*size)).failure is FailureCode.CORRUPT_IMAGE


def test_a_bomb_of_as_many_pixels_as_are_allowed_is_just_a_large_image(box: DecoderBox) -> None:
    bomb = plain(10_000, 10_000, 77).pngsave_buffer(bitdepth=1)
    assert len(bomb) < 100_000

    assert box.render(bomb, [THUMBNAIL]).width == 10_000


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_cut_short_anywhere_is_refused(box: DecoderBox, name: str) -> None:
    # Upright, so that a thumbnail does not need the last rows; without GIF's last byte, which decoders do not miss.
    data = encode(photograph(120).rot90(), name)
    end = len(data) - (2 if name == "gif" else 1)

    codes = {refusal_of(box, data[:length]).failure for length in [*range(0, end, max(1, end // 60)), end]}

    assert codes <= {FailureCode.EMPTY_FILE, FailureCode.UNSUPPORTED_FORMAT, FailureCode.CORRUPT_IMAGE}


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_after_the_end_do_no_harm(box: DecoderBox, name: str) -> None:
    trailer = b"\n<!-- -->" if name == "svg" else b"PK\x03\x04" + sample("jpeg")

    assert box.render(sample(name) + trailer, [THUMBNAIL]).format == name


def test_stray_bytes_before_a_marker_do_no_harm(box: DecoderBox) -> None:
    data = encode(photograph(60), "jpeg")

    assert box.render(data[:-2] + b"\x12\x34\x56" + data[-2:], [THUMBNAIL]).width == 60


def test_a_jpeg_that_ends_properly_but_lacks_its_middle_is_corrupt(box: DecoderBox) -> None:
    data = encode(photograph(200), "jpeg")

    assert refusal_of(box, data[: len(data) // 2] + data[-2:]).failure is FailureCode.CORRUPT_IMAGE


@pytest.mark.parametrize("name", RASTER_FORMATS)
def test_mutants_are_accepted_or_refused_and_nothing_else(box: DecoderBox, name: str) -> None:
    original = encode(photograph(60), name)
    chance = random.Random(name)

    for _ in range(60):
        mutant = bytearray(original)
        for _ in range(chance.choice([1, 3, 20])):
            at = chance.randrange(min(len(mutant), 400) if chance.random() < 0.5 else len(mutant))
            mutant[at : at + chance.choice([1, 1, 4])] = chance.randbytes(chance.choice([1, 1, 0, 4]))
        try:
            rendered = box.render(bytes(mutant), [THUMBNAIL])
        except Rejected as refusal:
            assert refusal.failure in REFUSALS, mutant.hex()  # noqa: PT017  # both outcomes are right
        else:
            assert rendered.renditions[0].width == 100


@pytest.mark.parametrize("first", RASTER_FORMATS)
@pytest.mark.parametrize("second", RASTER_FORMATS)
def test_a_file_that_starts_as_one_format_is_never_read_as_another(box: DecoderBox, first: str, second: str) -> None:
    if first == second:
        return
    polyglot = sample(first)[:18] + sample(second)

    # Another format's bytes, read as a WebP's size, may be any.
    assert refusal_of(box, polyglot).failure in {
        FailureCode.CORRUPT_IMAGE,
        FailureCode.TOO_MANY_PIXELS,
        FailureCode.SIDE_TOO_LONG,
        FailureCode.UNSUPPORTED_FORMAT,  # a bitmap of a kind that does not exist
    }
