"""Colors are converted to sRGB however they were stored, without dark fringes. No metadata reaches a rendition."""

import io
from pathlib import Path

import pillow_heif
import pytest
import pyvips
from PIL import Image
from pipeline.pictures import decode, encode, pack_jpeg, photograph, plain, save, to_pillow

from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.operations.resize import Resize
from shared_lib.pipeline.output import OutputOptions
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.sandbox.pool import Sandbox

CUP = [150, 100, 80]  # a color that sRGB, P3 and printing inks all have
PNG = Recipe(name="png", operations=THUMBNAIL.operations, output=OutputOptions(format=Format.PNG))


def color_of(sandbox: Sandbox, data: bytes) -> list[int]:
    (rendition,) = sandbox.render(data, [PNG]).renditions
    image = decode(rendition.data)
    assert image.get_typeof("icc-profile-data") == 0
    return [round(value) for value in image.getpoint(50, 50)]


def near(color: list[int], expected: list[int], tolerance: int = 3) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(color, expected, strict=True))


def stored_as(profile: str) -> pyvips.Image:
    return plain(120, 120, *CUP).icc_transform(
        profile, input_profile="srgb", intent="relative", black_point_compensation=True
    )


@pytest.mark.parametrize("profile", ["p3", "cmyk"])
def test_an_embedded_profile_is_converted_to_srgb(sandbox: Sandbox, profile: str) -> None:
    assert near(color_of(sandbox, stored_as(profile).jpegsave_buffer(Q=100)), CUP)


@pytest.mark.parametrize("form", ["AVIF", "HEIF"])
def test_an_embedded_profile_in_avif_and_heic_is_converted_to_srgb(sandbox: Sandbox, form: str) -> None:
    wide = stored_as("p3")

    data = save(to_pillow(wide), form, quality=100, icc_profile=wide.get("icc-profile-data"))

    assert near(color_of(sandbox, data), CUP)


def test_an_embedded_profile_in_jpeg_xl_is_converted_to_srgb(sandbox: Sandbox, tmp_path: Path) -> None:
    jpeg = stored_as("p3").jpegsave_buffer(Q=100)

    for packed in (pack_jpeg(jpeg, tmp_path), pack_jpeg(jpeg, tmp_path).replace(b"jbrd", b"skip")):
        assert near(color_of(sandbox, packed), CUP)


def test_p3_without_its_profile_would_look_pale(sandbox: Sandbox) -> None:
    assert not near(color_of(sandbox, stored_as("p3").jpegsave_buffer(Q=100, keep="none")), CUP)


def test_cmyk_without_a_profile_is_converted_as_usual_inks(sandbox: Sandbox) -> None:
    assert near(color_of(sandbox, stored_as("cmyk").jpegsave_buffer(Q=100, keep="none")), CUP)


@pytest.mark.parametrize("inks", [(0, 255, 255, 0), (0, 0, 0, 0), (0, 0, 0, 255)])
def test_cmyk_is_not_inverted(sandbox: Sandbox, inks: tuple[int, int, int, int]) -> None:
    """Red, paper and black, as Pillow writes them: with Adobe's marker, and so inverted."""
    file = io.BytesIO()
    Image.new("CMYK", (120, 120), inks).save(file, "JPEG", quality=100)
    expected = {(0, 255, 255, 0): [237, 14, 26], (0, 0, 0, 0): [255, 255, 255], (0, 0, 0, 255): [20, 16, 20]}[inks]

    assert near(color_of(sandbox, file.getvalue()), expected, 20)


def test_an_unreadable_profile_is_ignored(sandbox: Sandbox) -> None:
    image = plain(120, 120, *CUP)
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", b"not a profile" * 20)

    assert near(color_of(sandbox, image.pngsave_buffer()), CUP, 0)


@pytest.mark.parametrize("name", ["png", "tiff"])
def test_sixteen_bits_become_eight(sandbox: Sandbox, name: str) -> None:
    image = (plain(120, 120, *CUP).cast("ushort") * 257).cast("ushort").copy(interpretation="rgb16")

    assert near(color_of(sandbox, encode(image, name)), CUP, 1)


def test_sixteen_bits_of_gray_become_eight(sandbox: Sandbox) -> None:
    image = (plain(120, 120, 77).cast("ushort") * 257).cast("ushort").copy(interpretation="grey16")

    assert near(color_of(sandbox, image.pngsave_buffer()), [77], 1)


def test_sixteen_bits_of_gray_in_heic_become_eight(sandbox: Sandbox) -> None:
    assert near(color_of(sandbox, save(Image.new("I;16", (120, 120), 77 * 257), "HEIF")), [77], 1)


@pytest.mark.parametrize(("mode", "most"), [("I;16", 65_535), ("F", 1)])
def test_deep_gray_in_jpeg_xl_becomes_eight_bits(sandbox: Sandbox, mode: str, most: int) -> None:
    """The encoder takes these numbers for linear light, and says so in the profile: 0.3 of it is 149."""
    image = Image.new(mode, (120, 120), 77 * most / 255 if mode == "F" else 77 * most // 255)

    assert near(color_of(sandbox, save(image, "JXL", lossless=True)), [149] * 3, 1)


def test_ten_bits_of_color_become_eight(sandbox: Sandbox) -> None:
    file = io.BytesIO()
    pixels = (plain(120, 120, *CUP).cast("ushort") * 257).cast("ushort").write_to_memory()
    pillow_heif.encode("RGB;16", (120, 120), pixels, file, quality=100, chroma=444)

    assert near(color_of(sandbox, file.getvalue()), CUP)


@pytest.mark.parametrize("name", ["jpeg", "png", "tiff", "webp", "bmp", "heic", "jxl"])
def test_gray_stays_gray(sandbox: Sandbox, name: str) -> None:
    color = color_of(sandbox, encode(plain(120, 120, 77), name))

    assert near(color, [77] * len(color), 1)


def test_a_palette_of_two_colors_is_read_as_colors(sandbox: Sandbox) -> None:
    file = io.BytesIO()
    image = Image.new("P", (120, 120), 1)
    image.putpalette([0, 0, 0, *CUP])
    image.save(file, "PNG", bits=1)

    assert near(color_of(sandbox, file.getvalue()), CUP, 0)


@pytest.mark.parametrize("name", ["png", "webp", "tiff", "heic", "jxl"])
def test_no_dark_fringe_appears_where_opaque_meets_transparent(sandbox: Sandbox, name: str) -> None:
    """White on transparent black: without premultiplication the edge of the white would turn gray."""
    image = plain(400, 400, 0, 0, 0, 0).insert(plain(150, 400, 255, 255, 255, 255), 0, 0)
    data = image.webpsave_buffer(lossless=True, exact=True) if name == "webp" else encode(image, name)

    (rendition,) = sandbox.render(data, [PNG]).renditions

    thumbnail = decode(rendition.data)
    visible = thumbnail[3] > 8
    assert visible.avg() > 50
    assert (thumbnail[0] < 250).ifthenelse(visible, 0).max() == 0


def _with_secrets(suffix: str) -> bytes:
    """Return a photograph with its photographer and place in EXIF, XMP and a comment."""
    image = photograph(200)
    for field in ("exif-ifd0-Artist", "exif-ifd0-Copyright", "exif-ifd3-GPSLatitude"):
        image.set_type(pyvips.GValue.gstr_type, field, "secret (secret, ASCII, 7 components, 7 bytes)")
    image.set_type(pyvips.GValue.blob_type, "xmp-data", b"<x:xmpmeta>secret</x:xmpmeta>")
    image.set_type(pyvips.GValue.gstr_type, "jpeg-comment", "secret")
    image.set_type(pyvips.GValue.gstr_type, "png-comment-0-Author", "secret")
    data: bytes = image.write_to_buffer(suffix)
    assert b"secret" in data
    return data


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize(
    "output", [OutputOptions(format=Format.JPEG), OutputOptions(format=Format.PNG), OutputOptions(format=Format.WEBP)]
)
def test_no_metadata_reaches_a_rendition(sandbox: Sandbox, suffix: str, output: OutputOptions) -> None:
    recipe = Recipe(name="x", operations=(Resize(width=50, height=50),), output=output)

    (rendition,) = sandbox.render(_with_secrets(suffix), [recipe]).renditions

    assert not any(word in rendition.data for word in (b"secret", b"Exif", b"EXIF", b"xmp", b"ICC"))
