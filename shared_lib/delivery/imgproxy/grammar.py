"""Divide an imgproxy URL into its signature, its options and its source."""

import base64
import re
from dataclasses import dataclass
from urllib.parse import unquote

from shared_lib.errors import Invalid

_PLAIN = re.compile(r"(^|/)plain/")
_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]*):/+(?=[^/])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ParsedUrl:
    options: tuple[tuple[str, tuple[str, ...]], ...]
    """Names with their arguments, in the order in which they apply."""
    source: str
    extension: str
    """The format that the source's end asks for. Empty: none."""


def split_signature(path: str) -> tuple[str, str]:
    """Return the signature and the path that is signed. Raises Invalid."""
    signature, _, rest = path.lstrip("/").partition("/")
    if not signature or not rest:
        raise Invalid("A URL has a signature and a source")
    return signature, f"/{_repair(rest)}"


def parse(path: str, *, has_only_presets: bool = False) -> ParsedUrl:
    """Parse a path without its signature. With only presets, its first segment names them. Raises Invalid."""
    segments = path.lstrip("/").split("/")
    if has_only_presets:
        segments = [f"preset:{segments[0]}", *segments[1:]]
    count = next((index for index, each in enumerate(segments) if ":" not in each), len(segments))
    # A source of one segment, such as `local:a`, is no option. Only `plain` introduces such sources.
    options = tuple((name, tuple(arguments)) for name, *arguments in (each.split(":") for each in segments[:count]))
    source = segments[count:]
    if has_only_presets and len(options) > 1:
        raise Invalid("Only presets are understood here")
    if not source or source == [""]:
        raise Invalid("The source is missing")
    if source[0] == "plain":
        return ParsedUrl(options, *_read_plain("/".join(source[1:])))
    return ParsedUrl(options, *_read_encoded("".join(source)))


def parse_presets(text: str) -> dict[str, tuple[tuple[str, tuple[str, ...]], ...]]:
    """Parse `name=option:argument/option:argument,name=…`. Raises ValueError."""
    presets = {}
    for each in text.split(",") if text else ():
        name, separator, options = (part.strip() for part in each.partition("="))
        if not (name and separator and options):
            raise ValueError(f"{each.strip()[:40]!r} is not name=option:argument/…")
        parts = (part.split(":") for part in options.split("/"))
        presets[name] = tuple((option, tuple(arguments)) for option, *arguments in parts)
    return presets


def _repair(path: str) -> str:
    """Undo what proxies do to URLs: encoded colons, and double slashes that became single ones."""
    found = _PLAIN.search(path)
    if found is None:
        return path.replace("%3A", ":")
    before, source = path[: found.end()], path[found.end() :]
    return before.replace("%3A", ":") + _SCHEME.sub(r"\1://", source)


def _read_plain(text: str) -> tuple[str, str]:
    source, *extension = text.split("@")
    if not source or len(extension) > 1:
        raise Invalid("A plain source has at most one @")
    return unquote(source), "".join(extension)


def _read_encoded(text: str) -> tuple[str, str]:
    encoded, *extension = text.split(".")
    if len(extension) > 1:
        raise Invalid("An encoded source has at most one dot")
    encoded = encoded.rstrip("=")
    try:
        source = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise Invalid("The source is no base64url") from error
    return source, "".join(extension)
