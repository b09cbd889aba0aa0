"""Our own URLs: `/i/<signature>/<preset or options>/<uuid>[.<format>]`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shared_lib.constraints import NAME_PATTERN, Pattern
from shared_lib.delivery.capabilities import Capability
from shared_lib.delivery.negotiation import Accepted, choose_format
from shared_lib.delivery.order import DELIVER_ORIGINAL, LATEST, ORIGINAL, Constantly, Order, Widths, covers_all
from shared_lib.delivery.presets import FindPreset, LowerPreset
from shared_lib.errors import Forbidden, Invalid
from shared_lib.limits import MAX_SIDE
from shared_lib.pipeline.formats import WRITTEN, Format, choose_extension
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.repositories.deliveries import PublishedImage
from shared_lib.validation import adapt, to_invalid

NAME = "delivered"
_AUTO = "auto"
_FORMATS = {form.extension: form for form in WRITTEN}
_OPTION = re.compile(r"([a-z]+)=([^=,]+)")
_COMPASS = {
    "center",
    "north",
    "northeast",
    "east",
    "southeast",
    "south",
    "southwest",
    "west",
    "northwest",
    "smart",
}

_REMEMBERED = 256  # options, with their recipes: pages ask for many images in few sizes

_ABOUT_THE_URL = frozenset({"v", "exp", "download", "fallback"})
"""Options that don't change the rendition."""

_CROP = Pattern(r"^\d{1,5}:\d{1,5}:\d{1,5}:\d{1,5}$", "must be left:top:width:height in px, such as 40:0:640:480")
_COLOR = Pattern(
    r"^[0-9a-fA-F]{3}([0-9a-fA-F]{3}([0-9a-fA-F]{2})?)?$", "must be a color such as f80, ff8800 or ff880080"
)
_DIGEST = Pattern(
    r"^[0-9a-f]{8,64}$", "must be the SHA-256 of the original in lower case, or at least its first 8 digits"
)

Pixels = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Flag = Literal["1"]


def _check_gravity(text: str) -> str:
    if text not in _COMPASS and not re.fullmatch(r"(0|1|0?\.\d{1,6}|1\.0):(0|1|0?\.\d{1,6}|1\.0)", text):
        raise ValueError(f"it is one of {', '.join(sorted(_COMPASS))}, or a point such as 0.5:0.25")
    return text


class Options(BaseModel):
    """Each option's meaning and limits. All are optional."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    w: Pixels | None = None
    h: Pixels | None = None
    dpr: Annotated[float, Field(ge=0.5, le=8)] = 1
    fit: Literal["inside", "outside", "cover", "contain", "fill"] = "inside"
    gravity: Annotated[str, AfterValidator(_check_gravity)] = "center"
    enlarge: Flag | None = None
    trim: Annotated[float, Field(ge=0, le=255)] | None = None
    crop: Annotated[str, _CROP] | None = None
    rotate: Literal["90", "180", "270"] | None = None
    flip: Literal["h", "v", "hv"] | None = None
    blur: float | None = None
    sharpen: float | None = None
    bg: Annotated[str, _COLOR] = ""
    q: int | None = None
    lossless: Flag | None = None
    v: Annotated[str, _DIGEST] | None = None
    exp: Annotated[int, Field(ge=1, le=LATEST)] | None = None
    download: Flag | None = None
    fallback: Literal["original"] | None = None


@dataclass(frozen=True)
class Urls:
    find_preset: FindPreset
    widths: Widths
    are_open: bool
    """Unsigned URLs may deliver originals."""

    def read(
        self,
        options: str,
        file: str,
        accepted: Accepted,
        *,
        granted: Capability | bool,
        meanwhile: Accepted | None = None,
    ) -> Order:
        """Read a URL. `granted` is what its token allows, or whether it is signed.

        `meanwhile` is delivered until what is accepted is made. None: the caller waits. Raises Invalid, Forbidden and
        NotFound.
        """
        uuid, extension = _read_file(file)
        is_negotiated = extension == _AUTO
        output = choose_format(accepted) if is_negotiated else _FORMATS.get(extension)
        preset, given = _read_options(options)
        capability = granted if isinstance(granted, Capability) else None
        if capability:
            others = given.model_fields_set - _ABOUT_THE_URL - ({"w", "dpr"} if preset is None else set())
            capability.check(uuid, preset or _get_width(given), extension, others | _about_originals(given))
        elif not granted:
            self._check_unsigned(preset, given)
        if given.exp is not None and given.exp <= datetime.now(UTC).timestamp():
            raise Forbidden("The URL has expired", code="url_expired")
        if preset == ORIGINAL.name and extension:
            raise _mistake("file", "an original keeps its format: leave it out")
        ends = [each for each in (given.exp, capability.exp if capability else None) if each is not None]
        return Order(
            image=uuid,
            lower=self._choose_lowering(preset, given, output),
            lower_meanwhile=(
                self._choose_lowering(preset, given, choose_format(meanwhile)) if is_negotiated and meanwhile else None
            ),
            covers=capability.covers if capability else covers_all,
            preset=preset or "",
            is_negotiated=is_negotiated,
            content=given.v,
            has_fallback=given.fallback is not None and preset != ORIGINAL.name,
            is_lasting=given.v is not None and (preset == ORIGINAL.name or not (preset or is_negotiated)),
            expires_at=datetime.fromtimestamp(min(ends), UTC) if ends else None,
            is_attachment=given.download is not None,
        )

    def _choose_lowering(
        self, preset: str | None, options: Options, output: Format | Literal["source"] | None
    ) -> Callable[[PublishedImage], Recipe]:
        if preset == ORIGINAL.name:
            return DELIVER_ORIGINAL
        if preset:
            return LowerPreset(self.find_preset, preset, output)
        return Constantly(to_recipe(options, output))

    def _check_unsigned(self, preset: str | None, options: Options) -> None:
        if not self.are_open and (preset == ORIGINAL.name or _about_originals(options)):
            raise Forbidden("Only a signed URL delivers an original", code="signature_missing")
        if preset is None:
            may_be_wider = options.fit == "outside" and options.h is not None
            self.widths.check(None if may_be_wider else _get_width(options))


def _read_options(text: str) -> tuple[str | None, Options]:
    """Return a preset's name, if it begins with one, and the options."""
    first, _, rest = text.partition(",")
    if "=" in first:
        return None, read_options(text)
    if not NAME_PATTERN.matches(first):
        raise _mistake("options", "are name=value, separated by commas, or a preset's name")
    options = read_options(rest) if rest else Options()
    if others := options.model_fields_set - _ABOUT_THE_URL:
        raise _mistake(min(others), f"can't be combined with a preset, only {', '.join(sorted(_ABOUT_THE_URL))}")
    return first, options


def _get_width(options: Options) -> int | None:
    return None if options.w is None else _scale(options.w, options.dpr)


def _about_originals(options: Options) -> set[str]:
    return options.model_fields_set & {"fallback"}


def _read_file(file: str) -> tuple[UUID, str]:
    """Return the uuid and the extension of the format that is meant, which may be empty."""
    stem, _, written = file.partition(".")
    extension = choose_extension(written)
    try:
        uuid: UUID = adapt(UUID).validate_python(stem)
    except ValidationError as error:
        raise _mistake("file", "is an image's uuid, with or without a format such as .webp") from error
    if f"{uuid}" != stem:
        raise _mistake("file", f"write the uuid as {uuid}")
    if extension and extension not in (*_FORMATS, _AUTO):
        raise _mistake("file", f"the format is one of {', '.join((*sorted(_FORMATS), _AUTO))}")
    return uuid, extension


@lru_cache(_REMEMBERED)
def read_options(text: str) -> Options:
    """Raises Invalid."""
    given: dict[str, str] = {}
    for part in text.split(","):
        found = _OPTION.fullmatch(part)
        if found is None:
            raise _mistake("options", f"{part[:40]!r} is not name=value")
        if found[1] in given:
            raise _mistake(found[1], "is given twice")
        given[found[1]] = found[2]
    try:
        options: Options = adapt(Options).validate_python(given)
    except ValidationError as error:
        raise name_options(error, Options) from error
    return options


@lru_cache(_REMEMBERED)
def to_recipe(options: Options, output: Format | Literal["source"] | None) -> Recipe:
    """Raises Invalid."""
    described: dict[str, Any] = {"name": NAME, "operations": [*_operations(options)], "output": {}}
    if output is not None:
        described["output"]["format"] = output
    if options.q is not None:
        described["output"]["quality"] = options.q
    if options.lossless:
        described["output"]["lossless"] = True
    try:
        return read_recipe(described)
    except ValidationError as error:
        raise name_options(error) from error


def _operations(options: Options) -> list[dict[str, Any]]:
    """Return the operations, always in the same order, so that the order of options doesn't matter."""
    found: list[dict[str, Any]] = []
    if options.trim is not None:
        found.append({"kind": "trim", "threshold": options.trim})
    if options.crop is not None:
        left, top, width, height = map(int, options.crop.split(":"))
        found.append({"kind": "crop", "left": left, "top": top, "width": width, "height": height})
    if options.rotate is not None:
        found.append({"kind": "rotate", "angle": float(options.rotate)})
    found += [{"kind": {"h": "flop", "v": "flip"}[each]} for each in options.flip or ()]
    if options.w is not None or options.h is not None:
        found.append(_resize(options))
    if options.blur is not None:
        found.append({"kind": "blur", "sigma": options.blur})
    if options.sharpen is not None:
        found.append({"kind": "sharpen", "sigma": options.sharpen})
    return found


def _resize(options: Options) -> dict[str, Any]:
    resize: dict[str, Any] = {"kind": "resize", "fit": options.fit, "enlarge": options.enlarge is not None}
    if options.w is not None:
        resize["width"] = _scale(options.w, options.dpr)
    if options.h is not None:
        resize["height"] = _scale(options.h, options.dpr)
    resize["gravity"] = options.gravity
    if ":" in options.gravity:
        x, y = map(float, options.gravity.split(":"))
        resize["gravity"] = {"x": x, "y": y}
    if options.bg:
        resize["background"] = f"#{options.bg}"
    return resize


def _scale(side: int, dpr: float) -> int:
    return max(1, round(side * dpr))


def _mistake(parameter: str, message: str) -> Invalid:
    return Invalid(f"{parameter}: {message}", details=[{"parameter": parameter, "message": message}])


def name_options(error: ValidationError, kind: type = Recipe) -> Invalid:
    """Name what is wrong by the last part of its place, which is an option or a parameter of an operation."""
    return to_invalid(error, kind, lambda mistake: str((mistake["loc"] or ("options",))[-1]))
