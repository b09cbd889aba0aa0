"""Reduce Accept to the few classes that make a difference, so that caches store few variants."""

import re
from typing import Literal

from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.output import OutputOptions

Accepted = Literal["avif", "webp", "any"]
"""The best format that a caller names, or `any`: those that every browser shows."""

MAX_HEADER = 4096
"""Characters. No browser sends more than 200."""
_PREFERRED: tuple[tuple[Accepted, str], ...] = (("avif", "image/avif"), ("webp", "image/webp"))
_QUALITY = re.compile(r"(0(\.\d{0,3})?|1(\.0{0,3})?)")  # RFC 9110, 12.4.2


def read_accept(header: str, *, besides: Accepted | None = None) -> Accepted:
    """Return the named format with the highest quality value, AVIF before WebP if they are equal, and never `besides`.

    Wildcards name no format: programs that can't show AVIF send them, too.
    """
    qualities = {}
    for part in header[:MAX_HEADER].lower().split(","):
        media_type, *parameters = (each.strip() for each in part.split(";"))
        qualities[media_type] = _read_quality(parameters)
    best: Accepted = "any"
    highest = 0.0
    for accepted, media_type in _PREFERRED:
        if accepted != besides and qualities.get(media_type, 0.0) > highest:
            best, highest = accepted, qualities[media_type]
    return best


def choose_format(accepted: Accepted) -> Format | Literal["source"]:
    return "source" if accepted == "any" else Format(accepted)


def may_have(output: OutputOptions) -> str | None:
    """Return the content type of all renditions with this output, or None if it depends on the image's pixels."""
    return output.format.content_type if isinstance(output.format, Format) else None


def _read_quality(parameters: list[str]) -> float:
    given = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    return float(given) if _QUALITY.fullmatch(given) else 0.0
