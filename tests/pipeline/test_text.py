"""Text is drawn in its script's own shapes and order, and never beyond the image."""

from dataclasses import replace
from typing import Any

import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageFont
from pipeline.golden import assert_looks_like_golden
from pipeline.pictures import decode, encode, photograph, plain
from pydantic import ValidationError

from shared_lib.pipeline import font
from shared_lib.pipeline.output import OutputOptions
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.sandbox.pool import Sandbox

EXAMPLES: dict[str, dict[str, Any]] = {
    "latin": {"text": "Quay & <Örsted>, “fi” 2026", "gravity": "center"},
    "greek-and-cyrillic": {"text": "Ξένος Журнал", "gravity": "north", "color": "#ffcc00"},
    "arabic": {"text": "مرحبا بالعالم، لا 2026", "gravity": "center"},
    "arabic-vowels": {"text": "مَرْحَبًا", "size": 40, "gravity": "center"},
    "hebrew": {"text": "שלום עולם (12:30) abc!", "gravity": "center"},
    "hebrew-in-latin": {"text": "Photo: שלום עולם 12, Tel Aviv", "gravity": "center", "size": 18},
    "lines": {"text": "One line,\nand a longer one that has to be broken\nסוף", "size": 20, "margin": 8},
    "tile": {"text": "© مرحبا", "size": 20, "tile": True, "margin": 20, "opacity": 0.5},
    "much-too-large": {"text": "It fills\nthe image", "size": 1_000, "margin": 10},
}


def recipe(**how: Any) -> Recipe:
    return read_recipe({"name": "x", "operations": [{"kind": "text", **how}], "output": {"format": "png"}})


def write(sandbox: Sandbox, image: pyvips.Image, **how: Any) -> pyvips.Image:
    return decode(sandbox.render(encode(image, "png"), [recipe(**how)]).get("x").data)


def ink(sandbox: Sandbox, text: str, **how: Any) -> pyvips.Image:
    """Return white text on black, cropped to its ink."""
    image = write(sandbox, plain(600, 200, 0), text=text, gravity="center", **how)
    return image.crop(*image.find_trim(background=0, threshold=1))


@pytest.mark.parametrize("name", EXAMPLES)
def test_text_looks_like_its_golden_image(sandbox: Sandbox, name: str) -> None:
    assert_looks_like_golden(write(sandbox, photograph(300), **EXAMPLES[name]), f"text-{name}")


def test_arabic_letters_are_joined(sandbox: Sandbox) -> None:
    joined, apart = ink(sandbox, "ببب"), ink(sandbox, "ب\u200cب\u200cب")

    assert joined.width < 0.8 * apart.width
    assert ink(sandbox, "لا").width < 0.8 * ink(sandbox, "ل\u200cا").width  # lam and alef are one


def test_hebrew_runs_to_the_left_and_its_numbers_to_the_right(sandbox: Sandbox) -> None:
    vav, whole = ink(sandbox, "ו", size=60), ink(sandbox, "ושם 17", size=60)
    number = ink(sandbox, "17", size=60)

    def differ(left: int, part: pyvips.Image) -> float:
        tops = range(whole.height - part.height + 1)
        return min(float((whole.crop(left, top, part.width, part.height) - part).abs().avg()) for top in tops)

    assert differ(whole.width - vav.width, vav) < 10
    assert differ(0, number) < 10


def test_each_line_begins_at_the_side_of_its_script(sandbox: Sandbox) -> None:
    image = ink(sandbox, "a long line of Latin\nש", size=30)
    second = image.crop(0, image.height // 2 + 5, image.width, image.height // 2 - 5)

    left, _, width, _ = second.find_trim(background=0, threshold=1)
    assert left + width == pytest.approx(image.width, abs=8)
    assert width < 30


def test_size_is_the_fonts_size_in_pixels(sandbox: Sandbox) -> None:
    assert ink(sandbox, "H", size=100).height == pytest.approx(73, abs=1)  # DejaVu Sans' capitals: 0.729


def test_long_lines_are_broken_between_words_and_long_words_anywhere(sandbox: Sandbox) -> None:
    one, three = ink(sandbox, "words", size=60).height, ink(sandbox, "words words words words words words", size=60)
    word = ink(sandbox, "w" * 40, size=60)

    assert three.height > 2 * one
    assert word.width <= 600
    assert word.height > 3 * ink(sandbox, "w", size=60).height


def test_text_that_does_not_fit_is_drawn_smaller_and_fills_the_image(sandbox: Sandbox) -> None:
    fitted = ink(sandbox, "Hello", size=1_000, margin=20)

    assert fitted.width <= 560
    assert fitted.height <= 160
    assert fitted.width > 400 or fitted.height > 120


COVERED = [chr(code) for code in range(0x20, 0x2_0000) if font.has_glyph(chr(code)) and code not in {0x2028, 0x2029}]


@settings(max_examples=150, deadline=None)
@given(
    text=st.text(st.sampled_from([*COVERED, "\n", " "]), min_size=1, max_size=60).map(lambda text: f"x{text}"),
    size=st.integers(4, 1_000),
    room=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    margin=st.integers(0, 20),
)
def test_text_never_reaches_beyond_the_margins(
    sandbox: Sandbox, text: str, size: int, room: tuple[int, int], margin: int
) -> None:
    width, height = room[0] + 2 * margin, room[1] + 2 * margin

    image = write(sandbox, plain(width, height, 0), text=text, size=size, margin=margin)

    assert (image.width, image.height) == (width, height)
    assert image.insert(plain(*room, 0), margin, margin).max() == 0


def test_markup_is_drawn_literally(sandbox: Sandbox) -> None:
    assert ink(sandbox, "<b>x</b> &lt;").width > 4 * ink(sandbox, "x").width


@pytest.mark.parametrize("how", [{"opacity": 0}, {"color": "transparent"}, {"color": "#f000", "tile": True}])
def test_transparent_text_changes_no_pixel(sandbox: Sandbox, how: dict[str, Any]) -> None:
    image = photograph(200)

    assert (write(sandbox, image, text="Hello", **how) - image).abs().max() == 0


def test_a_gray_image_stays_gray_unless_the_text_has_a_color(sandbox: Sandbox) -> None:
    gray = plain(100, 50, 90)

    assert write(sandbox, gray, text="Hello", color="#fff").bands == 1
    assert write(sandbox, gray, text="Hello", color="#f00").bands == 3


def test_text_is_drawn_on_a_transparent_image(sandbox: Sandbox) -> None:
    image = write(sandbox, plain(100, 50, 9, 9, 9, 0), text="██", size=40, color="#f008", gravity="center")

    assert image.getpoint(50, 25) == [255, 0, 0, 136]
    assert image.getpoint(1, 1)[3] == 0


def test_text_is_drawn_on_every_frame(sandbox: Sandbox) -> None:
    frames = pyvips.Image.arrayjoin([plain(80, 60, 0, 0, 60 * n) for n in range(3)], across=1).copy()
    frames.set_type(pyvips.GValue.gint_type, "page-height", 60)
    moving = replace(recipe(text="██", size=500), output=OutputOptions(animation="keep"))

    data = sandbox.render(frames.gifsave_buffer(), [moving]).get("x").data

    image = pyvips.Image.new_from_buffer(data, "", n=-1).flatten().copy_memory()
    assert [image.crop(0, 60 * n, 80, 60).max() for n in range(3)] == [255] * 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tokyo 東京", "U+6771"),
        ("a\tb", "U+0009"),
        ("a\r\nb", "U+000D"),
        ("a\x00b", "U+0000"),
        ("a\x1b[31m", "U+001B"),
        ("a\u2029b", "U+2029"),
        ("\ud800", "unicode"),
        ("\U0010ffff", "U+10FFFF"),
        (" \n ", "no visible"),
        ("\u200f\u00ad", "no visible"),
        ("\u2800", "no visible"),
    ],
)
def test_text_that_cannot_be_drawn_is_reported_with_its_path(text: str, expected: str) -> None:
    with pytest.raises(ValidationError) as raised:
        recipe(text=text)

    (error,) = raised.value.errors()
    assert error["loc"] == ("operations", 0, "text", "text")
    assert expected in error["msg"]


def test_has_glyph_is_true_for_exactly_the_characters_that_the_font_draws() -> None:
    loaded = ImageFont.truetype(str(font.FILE), 20, layout_engine=ImageFont.Layout.BASIC)
    box = bytes(loaded.getmask("\U000e0fff"))  # in no font: drawn as a box

    reported = {code for code in range(0x21, 0x2_0000) if font.has_glyph(chr(code))}
    drawn = {code for code in range(0x21, 0x2_0000) if bytes(loaded.getmask(chr(code))) != box}
    assert reported == drawn
    assert len(reported) > 5_000


def test_every_character_of_the_font_can_be_drawn(sandbox: Sandbox) -> None:
    for start in range(0, len(COVERED), 97):
        text = f"x{''.join(COVERED[start : start + 97])}"
        assert write(sandbox, plain(60, 40, 0), text=text, size=10).max() > 0
