"""imgproxy's geometry: its own examples, and what holds for any size and options."""

import math
from contextlib import suppress
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import make_published

from shared_lib.delivery.imgproxy.geometry import Box, make_plan
from shared_lib.delivery.imgproxy.lowering import Mark, lower
from shared_lib.delivery.imgproxy.options import OPTIONS, Options, read_options
from shared_lib.errors import Invalid
from shared_lib.pipeline.formats import Format

Size = tuple[int, int]


def read(text: str) -> Options:
    return read_options([(name, arguments) for name, *arguments in (each.split(":") for each in text.split("/"))], "")


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ("rs:fit:50:50", (50, 25)),
        ("rs:fit:50:20", (40, 20)),
        ("rs:fit:0:200", (200, 100)),
        ("rs:fit:300:300:1", (300, 150)),
        ("rs:fit:300:300:0:1", (300, 300)),
        ("rs:fit:0:200/ex:1", (200, 200)),
        ("rs:fit:300:125/exar:1", (240, 100)),
        ("rs:fill:300:300", (200, 100)),
        ("rs:fill:100:300", (100, 100)),
        ("rs:fill-down:300:300", (100, 100)),
        ("rs:fill-down:300:125", (200, 83)),
        ("rs:fill-down:250:300", (83, 100)),
        ("rs:force:50:80", (50, 80)),
        ("rs:force:0:50", (200, 50)),
        ("rs:auto:100:40", (100, 40)),
        ("rs:auto:40:100", (40, 20)),
        ("w:50/dpr:2", (100, 50)),
        ("w:150/dpr:2", (200, 100)),
        ("w:50/z:2", (100, 50)),
        ("w:50/mh:40", (50, 40)),
        ("w:50/pd:1:2:3:4/dpr:2", (112, 58)),
        ("c:50:60", (50, 60)),
        ("c:0.5:0.5/w:50", (50, 25)),
        ("rot:90/w:50", (50, 100)),
        ("rot:270/rs:fill:100:100", (100, 100)),
    ],
)
def test_a_source_of_200_by_100_becomes_as_large_as_with_imgproxy(options: str, size: Size) -> None:
    assert make_plan((200, 100), read(options)).size == size


@pytest.mark.parametrize(
    ("options", "box"),
    [
        ("rs:fill:50:50", (26, 0)),
        ("rs:fill:50:50/g:we", (0, 0)),
        ("rs:fill:50:50/g:ea", (50, 0)),
        ("rs:fill:50:50/g:ea:10:0", (40, 0)),
        ("rs:fill:50:50/g:we:0.1", (10, 0)),
        ("rs:fill:50:50/g:we:70", (50, 0)),
        ("rs:fill:50:50/g:fp:0.5:0.5", (25, 0)),
        ("rs:fill:50:50/g:fp:1:1", (50, 0)),
        ("rs:fill:100:20/g:so", (0, 30)),
        ("rs:fill:100:20/g:noea:0:5", (0, 5)),
        ("rs:fill:25:25/dpr:2/g:we:10", (20, 0)),
    ],
)
def test_gravity_and_offsets_choose_what_is_kept(options: str, box: Size) -> None:
    kept = make_plan((200, 100), read(options)).kept

    assert isinstance(kept, Box)
    assert kept[:2] == box


sides = st.integers(1, 3000)
sources = st.tuples(sides, sides)
gravities = st.sampled_from(["ce", "no", "so", "ea", "we", "noea", "nowe", "soea", "sowe"])
anything = st.builds(
    "rs:{}:{}:{}:{}:{}/g:{}:{}:{}/dpr:{}/z:{}/rot:{}/c:{}:{}/pd:{}/mw:{}".format,
    st.sampled_from(["fit", "fill", "fill-down", "force", "auto"]),
    st.integers(0, 2000),
    st.integers(0, 2000),
    st.sampled_from("01"),
    st.sampled_from("01"),
    gravities,
    st.sampled_from([-20, -0.3, 0, 0.2, 15, 5000]),
    st.sampled_from([-20, -0.3, 0, 0.2, 15, 5000]),
    st.sampled_from([0.5, 1, 1.5, 2, 3]),
    st.sampled_from([0.5, 1, 2]),
    st.sampled_from([0, 90, 180, 270]),
    st.sampled_from([0, 0.3, 0.99, 1, 250]),
    st.sampled_from([0, 0.3, 0.99, 1, 250]),
    st.integers(0, 30),
    st.sampled_from([0, 5, 400]),
)


@settings(max_examples=500, deadline=None)
@given(sources, anything)
def test_everything_that_is_cut_lies_inside_and_every_side_has_a_pixel(source: Size, options: str) -> None:
    plan = make_plan(source, read(options))

    turned = source[::-1] if read(options).rotate % 180 else source
    for outer, box in ((turned, plan.cut), (plan.scaled, plan.kept)):
        if isinstance(box, Box):
            assert 0 <= box.left <= outer[0] - box.width
            assert 0 <= box.top <= outer[1] - box.height
    assert min(*plan.scaled, *plan.size) >= 1
    assert all(min(margins) >= 0 for margins in plan.margins)


@settings(max_examples=300, deadline=None)
@given(sources, sides, sides, st.sampled_from(["fit", "fill", "fill-down", "force", "auto"]))
def test_nothing_is_enlarged_unless_it_is_asked_for(source: Size, width: int, height: int, kind: str) -> None:
    size = make_plan(source, read(f"rs:{kind}:{width}:{height}/dpr:2")).size

    assert size[0] <= source[0]
    assert size[1] <= source[1]


@settings(max_examples=300, deadline=None)
@given(sources, sides, sides)
def test_fit_lies_inside_and_touches_a_side_and_keeps_the_ratio(source: Size, width: int, height: int) -> None:
    size = make_plan(source, read(f"rs:fit:{width}:{height}:1")).size

    assert size[0] <= width
    assert size[1] <= height
    assert size[0] == width or size[1] == height
    scale = min(width / source[0], height / source[1])
    assert abs(size[0] - source[0] * scale) <= 1
    assert abs(size[1] - source[1] * scale) <= 1


@settings(max_examples=300, deadline=None)
@given(sources, sides, sides, st.sampled_from(["fill", "force"]))
def test_fill_and_force_give_exactly_the_size_if_they_may_enlarge(
    source: Size, width: int, height: int, kind: str
) -> None:
    assert make_plan(source, read(f"rs:{kind}:{width}:{height}:1")).size == (width, height)


@settings(max_examples=300, deadline=None)
@given(sources, sides, sides)
def test_extend_gives_at_least_the_size(source: Size, width: int, height: int) -> None:
    assert make_plan(source, read(f"rs:fit:{width}:{height}:0:1")).size == (width, height)


@settings(max_examples=400, deadline=None)
@given(
    sources,
    st.sampled_from(["fit", "fill", "force"]),
    st.integers(0, 3000),
    st.integers(0, 3000),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 1.5, 2]),
)
def test_a_size_follows_from_the_rules(  # noqa: PLR0913, PLR0917  what is given
    source: Size, kind: str, width: int, height: int, enlarge: bool, extend: bool, zoom: float
) -> None:
    across, down = source[0] / (width or source[0]), source[1] / (height or source[1])
    if kind != "force" and (across, down) != (1, 1):
        across = down = {
            (True, True): max(across, down) if kind == "fit" else min(across, down),
            (True, False): across,
            (False, True): down,
            (False, False): 1,
        }[width > 0, height > 0]
    across, down = across / zoom, down / zoom
    least = min(across, down)
    if not enlarge and least < 1:
        across, down = across / least, down / least
    scaled = [
        max(1, math.floor(side * (1 / shrink) + 0.5)) for side, shrink in zip(source, (across, down), strict=True)
    ]
    target = [math.floor(side * zoom + 0.5) for side in (width, height)]
    kept = [min(side, wanted or side) for side, wanted in zip(scaled, target, strict=True)]
    expected = [max(pair) for pair in zip(kept, target, strict=True)] if extend else kept

    assert (
        list(make_plan(source, read(f"rs:{kind}:{width}:{height}:{int(enlarge)}:{int(extend)}/z:{zoom}")).size)
        == expected
    )


words = st.sampled_from(
    [
        "",
        "0",
        "1",
        "-1",
        "0.5",
        "99999",
        "1e3",
        "nan",
        "t",
        "fit",
        "fill-down",
        "force",
        "auto",
        "ce",
        "sm",
        "fp",
        "re",
        "jpg",
    ]
)
options = st.builds(
    lambda name, given: ":".join([name, *given]),
    st.sampled_from(sorted(OPTIONS)),
    st.lists(words, min_size=1, max_size=6),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(options, min_size=1, max_size=5))
def test_any_options_have_a_recipe_or_are_invalid(chosen: list[str]) -> None:
    with suppress(Invalid):
        lower(read("/".join(chosen)), "any", Mark(uuid4(), 1), make_published(Format.WEBP))
