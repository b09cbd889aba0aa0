"""imgproxy's options: names, arguments, defaults, and what each of them does to the others."""

import base64
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal
from urllib.parse import unquote

from shared_lib.constraints import NAME_PATTERN
from shared_lib.delivery.order import LATEST
from shared_lib.errors import Forbidden, Invalid
from shared_lib.pipeline.formats import Format

ResizingType = Literal["fit", "fill", "fill-down", "force", "auto"]
_RESIZING: tuple[ResizingType, ...] = ("fit", "fill", "fill-down", "force", "auto")
_COMPASS = frozenset({"ce", "no", "so", "ea", "we", "noea", "nowe", "soea", "sowe"})
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FORMATS = {
    "jpg": Format.JPEG,
    "jpeg": Format.JPEG,
    "png": Format.PNG,
    "webp": Format.WEBP,
    "avif": Format.AVIF,
    "gif": Format.GIF,
    "jxl": Format.JXL,
    "tiff": Format.TIFF,
}
_SOURCES = _FORMATS | {"bmp": Format.BMP, "heic": Format.HEIC, "svg": Format.SVG}
_UNWRITTEN = frozenset({"bmp", "heic", "ico", "svg"})
_MAX = 100_000  # of any number: more is a mistake, and would only be refused later


@dataclass(frozen=True, slots=True)
class Gravity:
    type: str = "ce"
    """A compass point, `fp` for a point, or `sm`."""
    x: float = 0
    y: float = 0


@dataclass(frozen=True, slots=True)
class Extend:
    enabled: bool = False
    gravity: Gravity = Gravity()


@dataclass(frozen=True, slots=True)
class Crop:
    width: float = 0
    """px from 1 on, below it a share. 0: all."""
    height: float = 0
    gravity: Gravity | None = None
    """None: that of the whole."""


@dataclass(frozen=True, slots=True)
class Trim:
    threshold: float
    color: str
    """#rrggbb. Empty: that of the top left pixel."""
    equal: tuple[bool, bool]
    """Left and right, top and bottom."""


@dataclass(frozen=True, slots=True)
class Watermark:
    opacity: float
    position: str
    """A compass point, or `re` for tiles."""
    x: float
    y: float
    """px from 1 on, below it a share of the image's side."""
    scale: float
    """Share of the image's sides. 0: its own size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    resizing_type: ResizingType = "fit"
    width: int = 0
    height: int = 0
    min_width: int = 0
    min_height: int = 0
    zoom: tuple[float, float] = (1, 1)
    dpr: float = 1
    enlarge: bool = False
    extend: Extend = Extend()
    extend_aspect_ratio: Extend = Extend()
    gravity: Gravity = Gravity()
    crop: Crop = Crop()
    trim: Trim | None = None
    auto_rotate: bool = True
    watermark: Watermark | None = None
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    rotate: int = 0
    flip: tuple[bool, bool] = (False, False)
    """Horizontally, vertically."""
    background: str = ""
    """#rrggbb. Empty: none."""
    blur: float = 0
    sharpen: float = 0
    pixelate: int = 0
    strip_metadata: bool = True
    keep_copyright: bool = True
    strip_color_profile: bool = True
    quality: int = 0
    format_quality: dict[Format, int] = field(default_factory=dict)
    max_bytes: int = 0
    format: Format | None = None
    expires: int = 0
    filename: str = ""
    is_attachment: bool = False
    skip_processing: frozenset[Format] = frozenset()
    """Sources of these formats are sent as they are, unless the URL asks for another format."""
    is_raw: bool = False
    """The source is sent as it is."""


Arguments = Sequence[str]
Apply = Callable[[Options, Arguments], Options]
OPTIONS: dict[str, Apply] = {}
"""By all their names."""


def _option(*names: str, most: int = 1) -> Callable[[Apply], Apply]:
    """Register an option that takes at most so many arguments."""

    def register(apply: Apply) -> Apply:
        def apply_checked(options: Options, arguments: Arguments) -> Options:
            if len(arguments) > most:
                raise Invalid(f"{names[0]}: it takes at most {most} arguments")
            return apply(options, arguments)

        for name in names:
            OPTIONS[name] = apply_checked
        return apply

    return register


IGNORED: dict[str, str] = {
    "preserve_hdr ph": "renditions have 8 bits a channel",
    "enforce_thumbnail eth": "embedded thumbnails are not read",
    "cachebuster cb": "it only makes another URL",
}
"""Options without an effect, by all their names, and the reason."""

PRESET = frozenset({"preset", "pr"})

_WITH_PRESET = frozenset(
    ["format", "f", "ext", "expires", "exp", "filename", "fn", "return_attachment", "att", "cachebuster", "cb"]
)
"""Options that go with a preset that is made at run time."""

SECURITY = frozenset(
    {
        "max_src_resolution",
        "msr",
        "max_src_file_size",
        "msfs",
        "max_animation_frames",
        "maf",
        "max_animation_frame_resolution",
        "mafr",
        "max_result_dimension",
        "mrd",
    }
)


Given = Sequence[tuple[str, Arguments]]
"""Options with their arguments, in their order."""


def read_options(given: Given, extension: str, presets: Mapping[str, Given] | None = None) -> Options:
    """Apply the preset `default`, the options in their order, and the extension last.

    Raises Invalid, and Forbidden for limits.
    """
    presets = presets or {}
    given = [*presets.get("default", ()), *given]
    options = Options()
    for name, arguments in _expand(given, presets, frozenset({"default"})):
        if name in SECURITY:
            raise Forbidden(f"{name}: URLs don't set limits here", code="option_not_allowed")
        if name not in OPTIONS:
            raise Invalid(f"{name}: it is not understood here")
        options = OPTIONS[name](options, arguments)
    return OPTIONS["format"](options, [extension]) if extension and not options.is_raw else options


def separate_preset(given: Given, presets: Mapping[str, Given]) -> tuple[str, Given]:
    """Return the name of a preset that is made at run time, empty if the URL names none, and the other options.

    It is a whole recipe. So only options that don't change the picture go with it, and `format`. Raises Invalid.
    """
    names = [name for option, arguments in given if option in PRESET for name in arguments]
    if presets.keys() >= set(names):
        return "", given
    others = [each for each in given if each[0] not in PRESET]
    if len(names) > 1 or not NAME_PATTERN.matches(names[0]) or not {option for option, _ in others} <= _WITH_PRESET:
        raise Invalid("preset: one of them is a whole recipe or unknown, so others don't go with it")
    return names[0], others


def names_only_presets(given: Given) -> bool:
    """Return whether an operator or a tenant has chosen all that the picture depends on, but its format."""
    names = {name for name, _ in given}
    return bool(names & PRESET) and names <= PRESET | _WITH_PRESET


def _expand(given: Given, presets: Mapping[str, Given], within: frozenset[str]) -> Iterator[tuple[str, Arguments]]:
    """Put presets' options in the places of their names. One that is within itself adds nothing."""
    for name, arguments in given:
        if name not in PRESET:
            yield name, arguments
            continue
        for preset in arguments:
            if preset not in presets:
                raise Invalid(f"preset: there is no {preset[:40]!r}")
            if preset not in within:
                yield from _expand(presets[preset], presets, within | {preset})


def _at(arguments: Arguments, index: int) -> str:
    """Return an argument, empty if it is not given."""
    return arguments[index] if index < len(arguments) else ""


def _integer(text: str, name: str, most: int = _MAX) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > most:
        raise Invalid(f"{name}: {text[:20]!r} is no number from 0 to {most}")
    return int(text)


def _number(text: str, name: str, least: float = 0, most: float = _MAX) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:  # nan is no number either
        raise Invalid(f"{name}: {text[:20]!r} is no number from {least:g} to {most:g}")
    return value


def _read_time(text: str) -> int:
    return min(_integer(text, "expires", 2**63 - 1), LATEST)


def _is_hex(text: str) -> bool:
    return len(text) in (3, 6) and not set(text) - set("0123456789abcdef")


def _boolean(text: str) -> bool:
    return text in _TRUE


def _read_gravity(arguments: Arguments, *, allow_smart: bool) -> Gravity:
    kind, *offsets = arguments
    if kind == "sm" and allow_smart and not any(offsets):
        return Gravity("sm")
    if kind == "fp" and len(offsets) == 2:
        return Gravity("fp", *(_number(each, "gravity", 0, 1) for each in offsets))
    if kind not in _COMPASS or len(offsets) > 2:
        raise Invalid(f"gravity: {':'.join(arguments)[:40]!r} is not understood")
    x, y = (_number(_at(offsets, index) or "0", "gravity", -_MAX) for index in range(2))
    return Gravity(kind, x, y)


def _read_extend(arguments: Arguments) -> Extend:
    gravity = arguments[1:]
    return Extend(
        _boolean(arguments[0]), _read_gravity(gravity, allow_smart=False) if gravity and gravity[0] else Gravity()
    )


def _read_format(name: str) -> Format:
    if name not in _FORMATS:
        code = "format_not_written" if name in _UNWRITTEN else None
        raise Invalid(f"format: {name[:10]!r} can't be written here, only {', '.join(sorted(_FORMATS))}", code=code)
    return _FORMATS[name]


def _single(target: str, read: Callable[[str], object], *names: str) -> None:
    """Register an option whose only argument sets a field."""

    @_option(*names)
    def apply(options: Options, arguments: Arguments) -> Options:
        value: Any = read(_at(arguments, 0))
        return replace(options, **{target: value})


_single("width", partial(_integer, name="width"), "width", "w")
_single("height", partial(_integer, name="height"), "height", "h")
_single("min_width", partial(_integer, name="min-width"), "min-width", "mw")
_single("min_height", partial(_integer, name="min-height"), "min-height", "mh")
_single("dpr", partial(_number, name="dpr", least=0.001), "dpr")
_single("enlarge", _boolean, "enlarge", "el")
_single("blur", partial(_number, name="blur"), "blur", "bl")
_single("sharpen", partial(_number, name="sharpen"), "sharpen", "sh")
_single("pixelate", partial(_integer, name="pixelate"), "pixelate", "pix")
_single("strip_metadata", _boolean, "strip_metadata", "sm")
_single("keep_copyright", _boolean, "keep_copyright", "kcr")
_single("strip_color_profile", _boolean, "strip_color_profile", "scp")
_single("quality", partial(_integer, name="quality", most=100), "quality", "q")
_single("max_bytes", partial(_integer, name="max_bytes", most=10_000_000), "max_bytes", "mb")
_single("format", _read_format, "format", "f", "ext")
_single("expires", _read_time, "expires", "exp")
_single("auto_rotate", _boolean, "auto_rotate", "ar")
_single("is_raw", _boolean, "raw")
_single("is_attachment", _boolean, "return_attachment", "att")


@_option("resize", "rs", most=8)
def _resize(options: Options, arguments: Arguments) -> Options:
    if kind := _at(arguments, 0):
        options = _resizing_type(options, [kind])
    return _size(options, arguments[1:])


@_option("size", "s", most=7)
def _size(options: Options, arguments: Arguments) -> Options:
    for place, name in enumerate(("width", "height", "enlarge")):
        if text := _at(arguments, place):
            options = OPTIONS[name](options, [text])
    if _at(arguments, 3):
        options = _extend(options, arguments[3:])
    return options


@_option("resizing_type", "rt")
def _resizing_type(options: Options, arguments: Arguments) -> Options:
    found = next((each for each in _RESIZING if each == _at(arguments, 0)), None)
    if found is None:
        raise Invalid(f"resizing_type: it is one of {', '.join(_RESIZING)}")
    return replace(options, resizing_type=found)


@_option("zoom", "z", most=2)
def _zoom(options: Options, arguments: Arguments) -> Options:
    x = _number(_at(arguments, 0), "zoom", 0.001)
    return replace(options, zoom=(x, _number(arguments[1], "zoom", 0.001) if len(arguments) > 1 else x))


@_option("extend", "ex", most=4)
def _extend(options: Options, arguments: Arguments) -> Options:
    return replace(options, extend=_read_extend(arguments or [""]))


@_option("extend_aspect_ratio", "extend_ar", "exar", most=4)
def _extend_aspect_ratio(options: Options, arguments: Arguments) -> Options:
    return replace(options, extend_aspect_ratio=_read_extend(arguments or [""]))


@_option("gravity", "g", most=3)
def _gravity(options: Options, arguments: Arguments) -> Options:
    return replace(options, gravity=_read_gravity(arguments or [""], allow_smart=True))


@_option("crop", "c", most=5)
def _crop(options: Options, arguments: Arguments) -> Options:
    width, height = (_number(_at(arguments, index) or "0", "crop") for index in range(2))
    gravity = _read_gravity(arguments[2:], allow_smart=True) if _at(arguments, 2) else None
    return replace(options, crop=Crop(width, height, gravity))


@_option("padding", "pd", most=4)
def _padding(options: Options, arguments: Arguments) -> Options:
    """Like CSS: a side that is missing takes that of the opposite one, or of the top."""
    top = _integer(_at(arguments, 0) or "0", "padding")
    right = _integer(_at(arguments, 1) or f"{top}", "padding")
    bottom = _integer(_at(arguments, 2) or f"{top}", "padding")
    left = _integer(_at(arguments, 3) or f"{right}", "padding")
    return replace(options, padding=(top, right, bottom, left))


@_option("rotate", "rot")
def _rotate(options: Options, arguments: Arguments) -> Options:
    angle = _integer(_at(arguments, 0), "rotate")
    if angle % 90:
        raise Invalid("rotate: it is a multiple of 90")
    return replace(options, rotate=angle % 360)


@_option("flip", "fl", most=2)
def _flip(options: Options, arguments: Arguments) -> Options:
    return replace(options, flip=(_boolean(_at(arguments, 0)), _boolean(_at(arguments, 1))))


@_option("background", "bg", most=3)
def _background(options: Options, arguments: Arguments) -> Options:
    if len(arguments) == 3:
        color = "".join(f"{_integer(each, 'background', 255):02x}" for each in arguments)
    else:
        color = "".join(arguments).lower()
    if (color and not _is_hex(color)) or len(arguments) == 2:
        raise Invalid("background: it is rgb, rrggbb or R:G:B")
    return replace(options, background=f"#{color}" if color else "")


@_option("format_quality", "fq", most=20)
def _format_quality(options: Options, arguments: Arguments) -> Options:
    if len(arguments) % 2:
        raise Invalid("format_quality: it takes pairs of a format and a quality")
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    chosen = {_read_format(name): _integer(quality, "format_quality", 100) for name, quality in pairs}
    return replace(options, format_quality=options.format_quality | chosen)


@_option("trim", "t", most=4)
def _trim(options: Options, arguments: Arguments) -> Options:
    if not _at(arguments, 0):
        return replace(options, trim=None)
    color = _at(arguments, 1).lower()
    if color and not _is_hex(color):
        raise Invalid("trim: the color is rgb or rrggbb")
    equal = _boolean(_at(arguments, 2)), _boolean(_at(arguments, 3))
    return replace(options, trim=Trim(_number(arguments[0], "trim"), f"#{color}" if color else "", equal))


@_option("watermark", "wm", most=5)
def _watermark(options: Options, arguments: Arguments) -> Options:
    position = _at(arguments, 1) or "ce"
    if position not in _COMPASS | {"re"}:
        raise Invalid(f"watermark: {position[:10]!r} is no position")
    x, y = (_number(_at(arguments, index) or "0", "watermark", -_MAX) for index in (2, 3))
    opacity, scale = (_number(_at(arguments, index) or "0", "watermark") for index in (0, 4))
    return replace(options, watermark=Watermark(min(opacity, 1), position, x, y, scale) if opacity else None)


@_option("skip_processing", "skp", most=20)
def _skip_processing(options: Options, arguments: Arguments) -> Options:
    unknown = [each for each in arguments if each not in _SOURCES]
    if unknown:
        raise Invalid(f"skip_processing: {unknown[0][:10]!r} is no format")
    return replace(options, skip_processing=frozenset(_SOURCES[each] for each in arguments))


def _ignore(options: Options, _: Arguments) -> Options:
    return options


for _names in IGNORED:
    _option(*_names.split())(_ignore)


@_option("filename", "fn", most=2)
def _filename(options: Options, arguments: Arguments) -> Options:
    name = _at(arguments, 0)
    if not _boolean(_at(arguments, 1)):
        return replace(options, filename=unquote(name))
    encoded = name.rstrip("=")
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise Invalid("filename: it is no base64url") from error
    return replace(options, filename=decoded.decode(errors="replace"))
