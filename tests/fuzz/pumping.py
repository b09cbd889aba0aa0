"""Inputs near a parser's grammar, with a part that repeats up to the largest size that is allowed.

What is expensive is seldom random. It is a valid input in which one thing comes a thousand times, and then something
that does not fit, so that a parser begins again.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st
from raw_http import Request

COMMON = (
    *(
        " ",
        "\t",
        "0",
        "9",
        "a",
        "A",
        "-",
        "+",
        ".",
        ",",
        ";",
        ":",
        "=",
        "/",
        "\\",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "<",
        ">",
    ),
    *('"', "'", "%", "%00", "%20", "*", "@", "&", "?", "é", "\x7f", "١", "1e9", "0x", "\\u0000", "#a"),
)
"""Fragments that any grammar may stumble over. A `#` becomes a number that grows, so that no two are equal."""


@dataclass(frozen=True)
class Parser:
    """Something that reads a stranger's text."""

    name: str
    seeds: tuple[str, ...]
    """Texts that it understands."""
    send: Callable[[str], Request]
    limit: int
    """Characters. Longer texts are refused unread."""
    fragments: tuple[str, ...] = ()
    """That its grammar has, in addition to those of its seeds."""
    encode: Callable[[str], str] = str
    """Applied to each fragment, and to the seed."""
    server: str = "open"
    """Whose process it runs in."""


def repeat(unit: str, size: int) -> str:
    """Repeat a fragment to about this size."""
    if "#" not in unit:
        return unit * (size // max(1, len(unit)))
    return "".join(unit.replace("#", f"{number:x}") for number in range(size // (len(unit) + 4)))


@st.composite
def pumped(draw: st.DrawFn, parser: Parser) -> str:
    """Draw a text of at most the parser's limit. One or two parts of it repeat, and what follows them may not fit."""
    pieces = [parser.encode(each) for each in re.findall(r"\w+|\W", draw(st.sampled_from(parser.seeds)))]
    fragments = st.sampled_from([*parser.fragments, *COMMON, *dict.fromkeys(pieces)])
    pumps = draw(st.integers(1, 2))
    room = (parser.limit - sum(map(len, pieces))) // pumps
    for _ in range(pumps):
        at = draw(st.integers(0, len(pieces)))
        unit = "".join(draw(st.lists(fragments, min_size=1, max_size=3)))
        size = draw(st.sampled_from([room, room, room, room // 8, 3 * len(unit)]))
        end = draw(st.sampled_from(["", "", *map(parser.encode, COMMON)]))
        pieces[at : at + draw(st.integers(0, 1))] = [repeat(parser.encode(unit), size), end]
    return "".join(pieces)[: parser.limit]
