"""thumbor's filters: their arguments, and what each adds to a recipe."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any
from uuid import UUID

from shared_lib.delivery.thumbor.colors import NAMED
from shared_lib.delivery.thumbor.geometry import Size
from shared_lib.delivery.thumbor.grammar import read_decimal, read_integer
from shared_lib.errors import Invalid
from shared_lib.pipeline.formats import Format

IMAGE = r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""A stored image's uuid, with or without dashes."""

_FORMATS = {"png": Format.PNG, "jpeg": Format.JPEG, "jpg": Format.JPEG, "gif": Format.GIF, "webp": Format.WEBP}
_FORMATS["avif"] = Format.AVIF
_ITS_FORMATS = frozenset({*_FORMATS, "heic", "heif"})
_LEAST_SIGMA, _LEAST_BYTES = 0.3, 1_000
_MOST_SIGMA = {"blur": 100, "sharpen": 10}

# thumbor's patterns.
_N, _PLUS, _BOOLEAN, _WORD = r"-?\d+", r"\d+", "[Tt]rue|[Ff]alse|1|0", r"\w+"
_DECIMAL, _POSITIVE, _TEXT = r"-?(?:\d+(?:\.\d*)?|\.\d+)", r"0*[1-9]\d*", r"'.+'|[^,]+"
_POSITION = r"-?\d+p?|center|repeat"
_SHARE = r"-?\d+|none"
_CURVE = r"\[(?:\(\d+,\d+\),?)*\]"
_CLOSING = {"'": "'", "[": "]"}


@dataclass
class Work:
    """A recipe in the making."""

    size: Size | None
    """px, after the operations so far. None if it is unknown: it depends on what is trimmed."""
    frame: Size
    """The size that `fill` fills, px. A side of 0 is the image's own."""
    operations: list[dict[str, Any]] = field(default_factory=list)
    output: dict[str, Any] = field(default_factory=dict)

    def append(self, kind: str, **parameters: Any) -> None:  # noqa: ANN401  an operation's parameters
        self.operations.append({"kind": kind, **parameters})

    def resize(self, width: int, height: int) -> None:
        self.append("resize", width=width, height=height, fit="fill")
        self.size = width, height

    @property
    def known_size(self) -> Size:
        """Raises Invalid if it is unknown."""
        if self.size is None:
            raise Invalid("trim leaves a size that isn't known before it is made: give width and height")
        return self.size


Effect = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Filter:
    arguments: tuple[re.Pattern[str], ...]
    required: int
    """So many of them. The others may be left out."""
    effect: Effect

    def apply(self, work: Work, text: str) -> None:
        """Ignore arguments that don't match, as thumbor does. Raises Invalid for those that can't be carried out."""
        given = _split(text)
        if self.required <= len(given) <= len(self.arguments) and all(map(re.Pattern.fullmatch, self.arguments, given)):
            missing = [""] * (len(self.arguments) - len(given))
            self.effect(work, *(each.strip("'") for each in (*given, *missing)))


FILTERS: dict[str, Filter] = {}


def _filter(name: str, *patterns: str, optional: int = 0) -> Callable[[Effect], Effect]:
    """Register a filter with the patterns of its arguments. So many of the last ones may be left out."""

    def register(effect: Effect) -> Effect:
        FILTERS[name] = Filter(tuple(map(re.compile, patterns)), len(patterns) - optional, effect)
        return effect

    return register


def _split(text: str) -> list[str]:
    """Split arguments at commas, except within quotes or brackets. One expression for all took cubic time."""
    pieces = text.split(",") if text else []
    found: list[list[str]] = []
    closing = ""
    for piece in pieces:
        rest = piece
        if closing:
            found[-1].append(piece)
        else:
            found.append([piece])
            closing, rest = _CLOSING.get(piece.lstrip()[:1], ""), piece.lstrip()[1:]
        if closing and closing in rest:
            closing = ""
    return [",".join(each).strip() for each in found] if not closing else [each.strip() for each in pieces]


def _is_true(text: str) -> bool:
    return text in ("true", "True", "1")


def _limit(value: float, least: float, most: float) -> float:
    return max(least, min(value, most))


def _color(text: str) -> str:
    """Return a color as CSS has it. Raises Invalid."""
    name = text.lower()
    if name == "transparent":
        return name
    if name in NAMED:
        return NAMED[name]
    if not re.fullmatch("[0-9a-f]{3}|[0-9a-f]{6}", name):
        raise Invalid(f"{name[:20]!r} is no color")
    return f"#{name}"


def _find_overlay(text: str) -> str:
    found = re.fullmatch(rf"({IMAGE})(?:/.*)?", text)
    if found is None:
        raise Invalid("The image to lay on is the uuid of a stored one")
    return str(UUID(found[1]))


@_filter("brightness", _N)
def _brightness(work: Work, percent: str) -> None:
    _rgb(work, percent, percent, percent)


@_filter("rgb", _N, _N, _N)
def _rgb(work: Work, *percents: str) -> None:
    offsets = [_limit(int(255 * read_integer(each) / 100), -2550, 2550) for each in percents]
    work.append("linear", offset=offsets)


@_filter("contrast", _N)
def _contrast(work: Work, percent: str) -> None:
    factor = _limit((read_integer(percent) + 100) ** 2 // 100 / 100, 0, 10)
    work.append("linear", factor=[factor], offset=[128 * (1 - factor)])


@_filter("saturation", _DECIMAL)
def _saturation(work: Work, factor: str) -> None:
    work.append("saturation", factor=_limit(read_decimal(factor), 0, 10), model="hsp")


@_filter("colorize", _PLUS, _PLUS, _PLUS, _TEXT)
def _colorize(work: Work, *arguments: str) -> None:
    *percents, color = arguments
    if not re.fullmatch("[0-9a-fA-F]{6}", color):
        raise Invalid("colorize: the color has six hexadecimal digits")
    shares = [min(read_integer(each), 100) / 100 for each in percents]
    offsets = [value * share for value, share in zip(bytes.fromhex(color), shares, strict=True)]
    work.append("linear", factor=[1 - share for share in shares], offset=offsets)


@_filter("grayscale")
def _grayscale(work: Work) -> None:
    work.append("grayscale", model="luma")


@_filter("equalize")
def _equalize(work: Work) -> None:
    work.append("equalize")


@_filter("curve", _CURVE, _CURVE, _CURVE, _CURVE)
def _curve(work: Work, *curves: str) -> None:
    lists = [[[read_integer(x), read_integer(y)] for x, y in re.findall(r"\((\d+),(\d+)", each)] for each in curves]
    work.append("curves", **dict(zip(("all", "red", "green", "blue"), lists, strict=True)))


@_filter("noise", _PLUS, _PLUS, optional=1)
def _noise(work: Work, amount: str, seed: str) -> None:
    if read_integer(amount):  # thumbor's is uniform: this has the same standard deviation
        sigma = _limit(read_integer(amount) / sqrt(12), 0, 255)
        work.append("noise", sigma=sigma, seed=read_integer(seed or "0") % 2**31)


@_filter("convolution", r"-?\d+(?:\.\d*)?(?:;-?\d+(?:\.\d*)?)*", _POSITIVE, _BOOLEAN, optional=1)
def _convolution(work: Work, numbers: str, columns: str, normalize: str) -> None:
    values, width = [read_decimal(each) for each in numbers.split(";")], read_integer(columns)
    rows = [values[start : start + width] for start in range(0, len(values), width)]
    work.append("convolve", matrix=rows, normalize=_is_true(normalize or "1"))


@_filter("blur", _POSITIVE, _DECIMAL, optional=1)
def _blur(work: Work, radius: str, sigma: str) -> None:
    strength = read_decimal(sigma or "0") or read_decimal(radius)
    if strength >= _LEAST_SIGMA:
        work.append("blur", sigma=min(strength, _MOST_SIGMA["blur"]))


@_filter("sharpen", _DECIMAL, _DECIMAL, _BOOLEAN)
def _sharpen(work: Work, amount: str, radius: str, _: str) -> None:
    sigma = _limit(read_decimal(radius), _LEAST_SIGMA, _MOST_SIGMA["sharpen"])
    work.append("sharpen", sigma=sigma, amount=_limit(read_decimal(amount), 0, 10))


@_filter("rotate", _N)
def _rotate(work: Work, angle: str) -> None:
    """Counter-clockwise, unlike ours."""
    turn = -read_integer(angle) % 360
    if turn % 90 == 0 and turn:
        work.append("rotate", angle=float(turn))
        if turn % 180 and work.size:
            work.size = work.size[1], work.size[0]


@_filter("round_corner", r"\d+(?:\|\d+)?", _PLUS, _PLUS, _PLUS, _BOOLEAN, optional=1)
def _round_corner(work: Work, radii: str, *arguments: str) -> None:
    *color, transparent = arguments
    across, _, down = radii.partition("|")
    if read_integer(across) and read_integer(down or across):
        work.append("roundCorners", radius=read_integer(across), vertical=read_integer(down or across))
    if not _is_true(transparent):
        work.append("flatten", background="#" + "".join(f"{min(read_integer(each), 255):02x}" for each in color))


@_filter("background_color", _WORD)
def _background_color(work: Work, color: str) -> None:
    background = "mean" if color == "auto" else _color(color)
    if background != "transparent":
        work.append("flatten", background=background)


@_filter("fill", _WORD, _BOOLEAN, optional=1)
def _fill(work: Work, color: str, fills_transparent: str) -> None:
    background = {"auto": "mean", "blur": "blur"}.get(color) or _color(color)
    width, height = work.frame
    if work.size is None:
        if not (width and height):
            work.known_size  # noqa: B018  raises
    else:
        width, height = width or work.size[0], height or work.size[1]
        shown = min(width, work.size[0]), min(height, work.size[1])
        if shown != work.size:  # after a rotation
            work.append("crop", width=shown[0], height=shown[1], gravity="center")
        work.size = width, height
    fills_within = _is_true(fills_transparent)
    shown_beneath = {"beneath": True} if fills_within and background == "blur" else {}
    work.append("pad", width=width, height=height, background=background, **shown_beneath)
    if fills_within and background not in ("blur", "transparent"):
        work.append("flatten", background=background)


@_filter("proportion", _DECIMAL)
def _proportion(work: Work, share: str) -> None:
    width, height = (int(side * read_decimal(share)) for side in work.known_size)
    if 0 < read_decimal(share) <= 1 and width and height:
        work.resize(width, height)


@_filter("upscale")
def _upscale(work: Work) -> None:
    (width, height), target = work.known_size, work.frame
    if width >= target[0] or height >= target[1]:
        return
    if width / target[0] >= height / target[1]:
        work.resize(target[0], max(1, height * target[0] // width))
    else:
        work.resize(max(1, width * target[1] // height), target[1])


@_filter("watermark", _TEXT, _POSITION, _POSITION, _PLUS, _SHARE, _SHARE, optional=2)
def _watermark(work: Work, *arguments: str) -> None:
    image, x, y, transparency, across, down = arguments
    opacity = 1 - min(read_integer(transparency), 100) / 100
    described: dict[str, Any] = {"image": _find_overlay(image), "opacity": opacity}
    for name, share in (("scale", across), ("height", down)):
        if share not in ("", "none", "0"):
            described[name] = _limit(abs(read_integer(share)) / 100, 0.01, 1)
    if x == y == "repeat":
        work.append("watermark", tile=True, **described)
        return
    horizontally, described["x"] = _place(x, 0, work)
    vertically, described["y"] = _place(y, 1, work)
    if "repeat" in (x, y):
        described["tile"] = "horizontal" if x == "repeat" else "vertical"
    names = ("", "west", "east"), ("", "north", "south")
    gravity = names[1][vertically] + names[0][horizontally]
    work.append("watermark", gravity=gravity or "center", **described)


def _place(position: str, axis: int, work: Work) -> tuple[int, int]:
    """Return 1 to measure from the left or top, 2 from the right or bottom, 0 for the middle, and the distance, px."""
    if position in ("center", "repeat"):
        return 0, 0
    distance = abs(read_integer(position.rstrip("p")))
    if position.endswith("p"):
        distance = round(work.known_size[axis] * distance / 100 + 1e-5)
    return (2 if position.startswith("-") else 1), min(distance, 8192)


@_filter("frame", _TEXT)
def _frame(work: Work, image: str) -> None:
    work.append("frame", image=_find_overlay(image), background="#ffffff")
    work.size = None  # it grows by the frame's padding


@_filter("format", _TEXT)
def _format(work: Work, name: str) -> None:
    """The last one counts. One that thumbor doesn't know leaves the choice to it, as if there were none."""
    work.output.pop("format", None)
    if name.lower() in _FORMATS:
        work.output["format"] = _FORMATS[name.lower()]


@_filter("quality", _PLUS)
def _quality(work: Work, quality: str) -> None:
    work.output["quality"] = int(_limit(read_integer(quality), 1, 100))


@_filter("max_bytes", _PLUS)
def _max_bytes(work: Work, most: str) -> None:
    work.output["maxBytes"] = int(_limit(read_integer(most), _LEAST_BYTES, 10_000_000))


@_filter("strip_icc")
def _strip_icc(work: Work) -> None:
    work.output["profile"] = "srgb"


@_filter("strip_exif")
@_filter("max_age", _PLUS)
@_filter("no_upscale")
@_filter("stretch")
@_filter("focal", _TEXT)
@_filter("extract_focal")
def _nothing(_work: Work, *_arguments: str) -> None:
    """Accept a filter whose effect is there without it, or that was read before."""


def names_format(filters: Sequence[tuple[str, str]]) -> bool:
    """Return whether thumbor would take the format from a filter, and so not choose it."""
    given = [arguments.strip().strip("'").lower() for name, arguments in filters if name == "format"]
    return bool(given) and given[-1] in _ITS_FORMATS


def apply_filters(work: Work, filters: Mapping[str, str] | tuple[tuple[str, str], ...]) -> None:
    """Apply them in their order. Those that nobody knows are ignored, as thumbor does. Raises Invalid."""
    for name, arguments in filters.items() if isinstance(filters, Mapping) else filters:
        if name in FILTERS:
            FILTERS[name].apply(work, arguments)
