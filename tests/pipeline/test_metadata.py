"""An image's metadata: independent of its renditions, similar for similar images, and without a location by default."""

import base64
import io
import json
import random
import struct
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational
from pipeline.pictures import FORMATS, PHOTOGRAPHS, animation, encode, photograph, plain, sample
from pydantic import TypeAdapter, ValidationError

from shared_lib.errors import FailureCode, Rejected
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.metadata.model import ImageMetadata, PaletteColor, StoredMetadata
from shared_lib.pipeline.operations.resize import Resize
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.recipe_schema import write_metadata
from shared_lib.pipeline.sandbox import ipc
from shared_lib.pipeline.sandbox.pool import Sandbox, read_reply

Base, Gps = ExifTags.Base, ExifTags.GPS


def extract(sandbox: Sandbox, data: bytes, *, with_location: bool = False) -> ImageMetadata:
    metadata = sandbox.render(data, [], with_metadata=True, with_location=with_location).metadata
    assert metadata is not None
    return metadata


def distance(one: ImageMetadata, other: ImageMetadata) -> int:
    """Return the number of bits that differ, of 64."""
    assert one.perceptual_hash is not None
    assert other.perceptual_hash is not None
    return (int(one.perceptual_hash, 16) ^ int(other.perceptual_hash, 16)).bit_count()


def test_an_impossible_number_of_frames_is_corrupt(sandbox: Sandbox) -> None:
    moving = animation(".png")
    at = moving.index(b"acTL")
    control = b"acTL" + struct.pack(">II", 2**31 - 1, 0)

    with pytest.raises(Rejected) as rejection:
        extract(sandbox, moving[:at] + control + struct.pack(">I", zlib.crc32(control)) + moving[at + 16 :])

    assert rejection.value.failure is FailureCode.CORRUPT_IMAGE


# --- independent of renditions


def test_metadata_is_extracted_only_on_request(sandbox: Sandbox) -> None:
    assert sandbox.render(sample("png"), [THUMBNAIL]).metadata is None


@pytest.mark.parametrize("name", FORMATS)
def test_metadata_does_not_depend_on_the_recipes(sandbox: Sandbox, name: str) -> None:
    data = encode(photograph(600), name)
    wide = Recipe(name="wide", operations=(Resize(width=300, height=20),))

    rendered = sandbox.render(data, [wide, THUMBNAIL, Recipe(name="whole")], with_metadata=True)

    assert rendered.metadata == extract(sandbox, data)
    assert rendered.get("thumbnail") == sandbox.render(data, [THUMBNAIL]).get("thumbnail")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_all_fields_of_metadata(sandbox: Sandbox, name: str) -> None:
    metadata = extract(sandbox, sample(name))

    assert (metadata.frames, metadata.bit_depth, metadata.color_space) == (1, 8, "srgb")
    assert metadata.has_alpha == (name == "svg")
    assert metadata.perceptual_hash is not None


# --- hashes


def _pixels(width: int, height: int, *, alpha: bool) -> bytes:
    """Return noise that is the same on every machine."""
    state, pixels = 1, bytearray()
    for at in range(width * height * 4):
        state = (state * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        pixels.append(255 if at % 4 == 3 and not alpha else state >> 16 & 255)
    return bytes(pixels)


# From the authors' implementations: npm's thumbhash 0.1.1, and BlurHash's C code in PyPI's blurhash-python 1.2.2.
REFERENCE = [
    (32, 20, False, "HwgCDIKXtH+Fpnxw4o341fNXlQ==", "L5Hxvh{;%X?O.RXcE,J?4rz;97.I"),
    (15, 30, False, "IAgCDAKcBLeqmaW7hYr8hLVI9w==", "T9Hxvh~W%IK3nmtd+6tPxI?N,:$m"),
    (24, 24, True, "IBiCBQAHqYxD2Vb2RT7y0ikI/Ga3mChpyA==", "LANm$n^kM#?^?cV?Xzr|I=sEOUnV"),
    (1, 1, False, "JYlKRyQI9wiIh4hwj3CI+AiIgIAICIgA", "L~M#P6~W~W~W~W~W~W~W~W~W~W~W"),
    (31, 2, False, "nxgGEYRV+6rGt3aItJDXQ3A=", "LsIOLMnTS0kq~pkWODcDT0cCK5X,"),
]
_MOST_WAVES = 7  # across a ThumbHash
_COLOR = 5  # bytes of one without alpha: mean, scales and proportions. The terms follow


@pytest.mark.parametrize("case", REFERENCE, ids=lambda case: f"{case[0]} x {case[1]}")
def test_placeholders_equal_those_of_the_reference_implementations(
    sandbox: Sandbox, case: tuple[int, int, bool, str, str]
) -> None:
    width, height, alpha, thumb_hash, blur_hash = case
    pixels = _pixels(width, height, alpha=alpha)
    image = pyvips.Image.new_from_memory(pixels, width, height, 4, "uchar").copy(interpretation="srgb")

    metadata = extract(sandbox, image.pngsave_buffer())

    assert metadata.blur_hash == blur_hash
    if min(width, height) >= _MOST_WAVES:
        assert metadata.thumb_hash == thumb_hash
    else:  # terms of waves that so few pixels can't have are rounding errors
        assert base64.b64decode(metadata.thumb_hash)[:_COLOR] == base64.b64decode(thumb_hash)[:_COLOR]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_metadata_describes_the_upright_image(sandbox: Sandbox, orientation: int) -> None:
    upright = photograph(301)
    stored = upright.copy_memory().copy()
    turn = {2: "fliphor", 3: "rot180", 4: "flipver", 6: "rot270", 8: "rot90"}
    if orientation in turn:
        stored = getattr(stored, turn[orientation])().copy()
    else:
        stored = (stored.rot90() if orientation == 5 else stored.rot270()).fliphor().copy()
    stored.set_type(pyvips.GValue.gint_type, "orientation", orientation)

    turned = extract(sandbox, stored.pngsave_buffer())

    assert turned == extract(sandbox, upright.pngsave_buffer())


@pytest.mark.parametrize("file", PHOTOGRAPHS, ids=lambda file: file.stem)
@pytest.mark.parametrize(
    "suffix", [".jpg[Q=50]", ".webp[Q=60]", ".avif[Q=50,effort=0]", ".tif", ".png", ".gif"], ids=lambda s: s[1:4]
)
@pytest.mark.parametrize("scale", [1, 0.5, 0.3, 1.4])
def test_a_copy_has_a_similar_perceptual_hash(sandbox: Sandbox, file: Any, suffix: str, scale: float) -> None:
    original = pyvips.Image.new_from_file(str(file))
    copy = original.resize(scale).write_to_buffer(suffix)

    assert distance(extract(sandbox, copy), extract(sandbox, file.read_bytes())) <= 6


def test_a_stretched_or_brightened_copy_has_a_similar_perceptual_hash(sandbox: Sandbox) -> None:
    original = photograph()
    known = extract(sandbox, encode(original, "png"))
    for altered in (original.resize(0.7, vscale=0.5), (original * 1.1 + 6).cast("uchar"), original.gaussblur(2)):
        assert distance(extract(sandbox, encode(altered, "jpeg")), known) <= 8


def test_different_images_have_different_perceptual_hashes(sandbox: Sandbox) -> None:
    known = [extract(sandbox, file.read_bytes()) for file in PHOTOGRAPHS]
    known += [
        extract(sandbox, encode(photograph().rot90(), "png")),
        extract(sandbox, encode(photograph().fliphor(), "png")),
    ]

    assert all(distance(one, other) > 16 for one, other in combinations(known, 2))


def _clouds(colors: bytes, width: int, height: int) -> pyvips.Image:
    image = pyvips.Image.new_from_memory(colors, 10, 10, 3, "uchar").copy(interpretation="srgb")
    return image.resize(width / 10, vscale=height / 10).copy_memory()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(200, 900), st.integers(200, 900)),
    quality=st.integers(50, 95),
    scale=st.floats(0.3, 1.5),
)
def test_perceptual_hashes_of_copies_are_similar_and_of_others_are_not(
    sandbox: Sandbox, seed: int, size: tuple[int, int], quality: int, scale: float
) -> None:
    dice = random.Random(seed)
    image, other = (_clouds(dice.randbytes(300), *size) for _ in range(2))
    known = extract(sandbox, encode(image, "png"))

    assert distance(extract(sandbox, image.resize(scale).jpegsave_buffer(Q=quality)), known) <= 8
    assert distance(extract(sandbox, encode(other, "png")), known) > 12


@pytest.mark.parametrize("suffix", [".png", ".jpg[Q=50]", ".webp"])
@pytest.mark.parametrize("color", [(0,), (255, 255, 255), (90, 30, 200), (10, 20, 30, 128), (255, 0, 0, 0)])
def test_an_image_without_structure_has_no_perceptual_hash(
    sandbox: Sandbox, suffix: str, color: tuple[float, ...]
) -> None:
    flat = plain(333, 200, *color)

    metadata = extract(sandbox, flat.write_to_buffer(suffix))

    assert metadata.perceptual_hash is None
    assert len(metadata.blur_hash) == 28


# --- colors


def test_a_palette_lists_the_most_common_colors(sandbox: Sandbox) -> None:
    image = plain(512, 512, 255, 0, 0).insert(plain(128, 512, 0, 0, 255), 0, 0)

    metadata = extract(sandbox, encode(image, "png"))

    assert [(each.color, each.share) for each in metadata.palette] == [("#ff0000", 0.75), ("#0000ff", 0.25)]


def test_shades_of_one_color_are_one_palette_entry(sandbox: Sandbox) -> None:
    noise = (plain(200, 200, 250, 250, 250) + pyvips.Image.gaussnoise(200, 200, sigma=2)).cast("uchar")

    assert len(extract(sandbox, encode(noise.copy(interpretation="srgb"), "png")).palette) == 1


def test_transparent_pixels_are_not_in_the_palette(sandbox: Sandbox) -> None:
    image = plain(200, 200, 0, 200, 0, 0).insert(plain(80, 200, 200, 0, 0, 255), 0, 0)

    metadata = extract(sandbox, encode(image, "png"))
    invisible = extract(sandbox, encode(plain(20, 20, 1, 2, 3, 0), "png"))

    assert metadata.has_alpha
    assert [each.color for each in metadata.palette] == ["#c80000"]
    assert invisible.palette == ()


@pytest.mark.parametrize(
    ("data", "space", "depth", "profile"),
    [
        (plain(9, 9, 7).pngsave_buffer(), "gray", 8, None),
        (photograph(60).colourspace("rgb16").pngsave_buffer(), "srgb", 16, None),
        (photograph(60).colourspace("grey16").pngsave_buffer(), "gray", 16, None),
        (photograph(60).pngsave_buffer(palette=True, bitdepth=2), "srgb", 2, None),
        (photograph(60).icc_transform("p3").jpegsave_buffer(), "display-p3", 8, "sP3C"),
        (photograph(60).icc_transform("srgb").jpegsave_buffer(), "srgb", 8, "sRGB"),
        (photograph(60).icc_transform("cmyk").jpegsave_buffer(), "cmyk", 8, "Chemical proof"),
        (photograph(60).colourspace("labs").tiffsave_buffer(), "lab", 16, None),
    ],
)
def test_the_color_space_is_that_of_the_source(
    sandbox: Sandbox, data: bytes, space: str, depth: int, profile: str | None
) -> None:
    metadata = extract(sandbox, data)

    assert (metadata.color_space, metadata.bit_depth, metadata.profile) == (space, depth, profile)


def test_metadata_of_an_animation_describes_its_first_frame(sandbox: Sandbox) -> None:
    first, second = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "blue")
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=[second, first], duration=100)

    metadata = extract(sandbox, file.getvalue())

    assert metadata.frames == 3
    assert [each.color for each in metadata.palette] == ["#ff0000"]


# --- EXIF


def _photographed(to: str = "JPEG", *, main: Any = (), details: Any = (), place: Any = ()) -> bytes:
    exif = Image.Exif()
    exif.update(dict(main))
    exif.get_ifd(ExifTags.IFD.Exif).update(dict(details))
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(dict(place))
    file = io.BytesIO()
    options: dict[str, Any] = {"exif": exif}
    if to == "TIFF":  # Pillow writes its directories only if they are passed like this
        options = {"tiffinfo": {**dict(main), ExifTags.IFD.Exif: dict(details), ExifTags.IFD.GPSInfo: dict(place)}}
    Image.new("RGB", (30, 20), "green").save(file, to, **options)
    return file.getvalue()


CAMERA = {Base.Make: "Leica", Base.Model: "M11"}
TAKEN = {Base.DateTimeOriginal: "2026:03:08 19:02:11", Base.LensModel: "Summilux 1:1.4/35"}
OSLO = {
    Gps.GPSLatitudeRef: "N",
    Gps.GPSLatitude: (IFDRational(59), IFDRational(54), IFDRational(4860, 100)),
    Gps.GPSLongitudeRef: "E",
    Gps.GPSLongitude: (IFDRational(10), IFDRational(45), IFDRational(1200, 100)),
}


@pytest.mark.parametrize("to", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_capture_time_and_camera_are_extracted(sandbox: Sandbox, to: str) -> None:
    metadata = extract(sandbox, _photographed(to, main=CAMERA, details=TAKEN, place=OSLO))

    assert (metadata.camera_make, metadata.camera_model) == ("Leica", "M11")
    assert metadata.lens_model == "Summilux 1:1.4/35"
    assert metadata.captured_at == datetime(2026, 3, 8, 19, 2, 11)  # noqa: DTZ001  # the camera wrote no offset
    assert '"capturedAt":"2026-03-08T19:02:11"' in write_metadata(metadata)


def test_a_capture_time_with_an_offset_is_aware(sandbox: Sandbox) -> None:
    details = {**TAKEN, Base.OffsetTimeOriginal: "+01:30"}

    metadata = extract(sandbox, _photographed(details=details))

    assert metadata.captured_at == datetime(2026, 3, 8, 17, 32, 11, tzinfo=UTC)
    assert metadata.captured_at.utcoffset() == timedelta(hours=1, minutes=30)


@pytest.mark.parametrize("to", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_the_location_is_extracted_only_on_request(sandbox: Sandbox, to: str) -> None:
    data = _photographed(to, main=CAMERA, place=OSLO)

    with_location, without = extract(sandbox, data, with_location=True), extract(sandbox, data)

    assert with_location.location is not None
    assert (with_location.location.latitude, with_location.location.longitude) == (59.9135, 10.7533333)
    assert without == replace(with_location, location=None)


@pytest.mark.parametrize(
    "wrong",
    [
        {Gps.GPSLatitudeRef: "X"},
        {Gps.GPSLatitude: (IFDRational(91), IFDRational(0), IFDRational(0))},
        {Gps.GPSLatitude: (IFDRational(1, 0), IFDRational(0), IFDRational(0))},
        {Gps.GPSLongitude: (IFDRational(10), IFDRational(45))},
        {Gps.GPSLongitude: 10},
    ],
)
def test_an_invalid_location_is_left_out(sandbox: Sandbox, wrong: dict[int, Any]) -> None:
    metadata = extract(sandbox, _photographed(main=CAMERA, place={**OSLO, **wrong}), with_location=True)

    assert metadata.location is None
    assert metadata.camera_make == "Leica"


def test_the_earliest_and_the_latest_time_are_accepted_by_the_parent(sandbox: Sandbox) -> None:
    for time, offset in (("0001:01:01 00:00:00", "+14:00"), ("9999:12:31 23:59:59", "-12:00")):
        details = {Base.DateTimeOriginal: time, Base.OffsetTimeOriginal: offset}

        assert extract(sandbox, _photographed(details=details)).captured_at is not None


@pytest.mark.parametrize(
    "time",
    ["0000:00:00 00:00:00", "2026:02:30 10:00:00", "    :  :     :  :  ", "yesterday", "", "2026:03:08 25:00:00"],
)
def test_an_invalid_time_is_left_out(sandbox: Sandbox, time: str) -> None:
    metadata = extract(sandbox, _photographed(main=CAMERA, details={Base.DateTimeOriginal: time}))

    assert metadata.captured_at is None
    assert metadata.camera_make == "Leica"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Leica\0\0\0", "Leica"),
        ("  OLYMPUS  IMAGING\r\n CORP. ", "OLYMPUS IMAGING CORP."),
        ("x" * 60_000, "x" * 100),
        ("a\x1b[31mb\x07", "a [31mb"),
        ("Gerät".encode(), "Gerät"),
        ("Gerät".encode("latin-1"), "Gerät"),
        ("\u202eevil".encode(), "evil"),
        ("\x01\x02", None),
    ],
)
def test_texts_become_one_printable_line(sandbox: Sandbox, written: str | bytes, read: str | None) -> None:
    assert extract(sandbox, _photographed(main={Base.Make: written})).camera_make == read


def _with_exif(block: bytes) -> bytes:
    data = sample("jpeg")
    segment = b"Exif\0\0" + block
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def _directory(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + body + struct.pack("<I", following)


HEADER = b"II*\0\x08\0\0\0"
HOSTILE = {
    "nothing": b"",
    "no header": b"not a TIFF at all",
    "truncated": HEADER + b"\x03",
    "endless": HEADER + b"\xff\xff" + bytes(60_000),
    "itself": HEADER + _directory((0x8769, 4, 1, 8), (0x8825, 4, 1, 8), following=8),
    "outside": HEADER + _directory((0x010F, 2, 4_000_000_000, 4_000_000_000), (0x8769, 4, 1, 4_294_967_295)),
    "unknown type": HEADER + _directory((0x010F, 99, 10, 8), (0x8769, 2, 4, 0x30303030)),
    "each tag all": HEADER + _directory(*((tag, 7, 64_000, 8) for tag in range(0x0100, 0x0100 + 5_000))),
    "numbers": HEADER + _directory((0x8769, 4, 1, 26)) + _directory((0x9003, 3, 32_000, 8)) + bytes(60_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_broken_exif_does_not_make_the_image_fail(sandbox: Sandbox, name: str) -> None:
    clean = extract(sandbox, sample("jpeg"))

    assert extract(sandbox, _with_exif(HOSTILE[name]), with_location=True) == clean


def test_no_random_exif_makes_the_image_fail(sandbox: Sandbox) -> None:
    data = bytearray(_photographed(main=CAMERA, details=TAKEN, place=OSLO))
    end = data.index(b"\xff\xdb")  # the quantization tables follow the EXIF segment
    dice = random.Random(4)
    for _ in range(300):
        mutant = bytearray(data)
        for _ in range(dice.randint(1, 8)):
            mutant[dice.randrange(30, end)] = dice.randrange(256)
        assert extract(sandbox, bytes(mutant), with_location=True).palette[0].share == 1


# --- which replies the parent accepts

EXTRACTED = ImageMetadata(
    frames=1,
    has_alpha=False,
    color_space="srgb",
    bit_depth=8,
    palette=(),
    thumb_hash="AAgCBwAAAAAAAAAA",
    blur_hash="L" * 28,
    perceptual_hash="0" * 16,
)


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": 0},
        {"frames": 10**12},
        {"colorSpace": "<b>"},
        {"cameraMake": "x" * 101},
        {"cameraMake": "a\nb"},
        {"cameraModel": "\u202eevil"},
        {"capturedAt": "DROP TABLE"},
        {"location": {"latitude": 91, "longitude": 0}},
        {"location": {"latitude": "NaN", "longitude": 0}},
        {"palette": [{"color": "red", "share": 1}]},
        {"palette": [{"color": "#ffffff", "share": 1}] * 7},
        {"palette": [{"color": "#ffffff", "share": 2}]},
        {"thumbHash": "A" * 40},
        {"thumbHash": "<script>"},
        {"blurHash": "L" * 29},
        {"perceptualHash": "xyz"},
    ],
)
def test_the_parent_accepts_only_valid_metadata(wrong: dict[str, Any]) -> None:
    result = ipc.Result(format=Format.PNG, width=3, height=2, renditions=(), metadata=EXTRACTED)
    reply = json.loads(ipc.write_reply(result))
    assert read_reply(json.dumps(reply).encode()) == result

    reply["metadata"] |= wrong

    with pytest.raises(ValidationError):
        read_reply(json.dumps(reply).encode())


def test_metadata_that_an_earlier_release_stored_is_still_read() -> None:
    stored = {
        "frames": 1,
        "hasAlpha": False,
        "colourSpace": "display-p3",
        "bitDepth": 8,
        "palette": [{"colour": "#b5651d", "share": 1}],
        "thumbHash": EXTRACTED.thumb_hash,
        "blurHash": EXTRACTED.blur_hash,
        "perceptualHash": EXTRACTED.perceptual_hash,
    }

    metadata = TypeAdapter[ImageMetadata](StoredMetadata).validate_python(stored)

    assert metadata == replace(EXTRACTED, color_space="display-p3", palette=(PaletteColor(color="#b5651d", share=1),))
    assert '"colorSpace":"display-p3"' in write_metadata(metadata)
    assert '"color":"#b5651d"' in write_metadata(metadata)
