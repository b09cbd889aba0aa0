"""EXIF: when, with what and where a picture was taken (CIPA DC-008-2023), read from what cameras and editors wrote.

Nothing in it is relied on: what is missing, broken or nonsense is left out, and never the image's fault.
"""

import contextlib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from shared_lib.pipeline.metadata.model import Location, clean_text

_TIME = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)")
_OFFSET = re.compile(r"[+-]\d\d:\d\d")


@dataclass(frozen=True, slots=True)
class Exif:
    captured_at: datetime | None = None
    """Naive where the offset from UTC is not told."""
    camera_make: str | None = None
    camera_model: str | None = None
    lens_model: str | None = None
    location: Location | None = None


def read_exif(block: bytes) -> Exif:
    """Read a block of EXIF, or a TIFF file, which is one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of every tag that is broken
            main = Image.Exif()
            main.load(block)  # at most as many bytes as there are in the block, however often its tags name them
            details = main.get_ifd(IFD.Exif)
            return Exif(
                captured_at=_time(details),
                camera_make=_text(main.get(Base.Make)),
                camera_model=_text(main.get(Base.Model)),
                lens_model=_text(details.get(Base.LensModel)),
                location=_location(main.get_ifd(IFD.GPSInfo)),
            )
    except Exception:  # noqa: BLE001  # whatever the reader makes of it, MemoryError included: EXIF is not worth an image
        return Exif()


def _text(value: object) -> str | None:
    """Clean a text: ASCII by the standard, UTF-8 by many a phone, Latin-1 as Pillow reads it."""
    if not isinstance(value, str):
        return None
    with contextlib.suppress(UnicodeError):
        value = value.encode("latin-1").decode()
    return clean_text(value.partition("\0")[0])


def _time(details: Mapping[int, Any]) -> datetime | None:
    told = _TIME.match(_text(details.get(Base.DateTimeOriginal)) or "")
    if told is None:
        return None
    offset = _OFFSET.fullmatch(_text(details.get(Base.OffsetTimeOriginal)) or "")
    year, month, day, clock = told.groups()
    try:
        return datetime.fromisoformat(f"{year}-{month}-{day}T{clock}{offset[0] if offset else ''}")
    except ValueError:  # such as 0000:00:00 00:00:00, of a camera whose clock was never set
        return None


def _location(place: Mapping[int, Any]) -> Location | None:
    try:
        latitude = _degrees(place[GPS.GPSLatitude], {"N": 1, "S": -1}[place[GPS.GPSLatitudeRef].strip("\0 ")])
        longitude = _degrees(place[GPS.GPSLongitude], {"E": 1, "W": -1}[place[GPS.GPSLongitudeRef].strip("\0 ")])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None
    on_earth = abs(latitude) <= 90 and abs(longitude) <= 180  # which no NaN is
    return Location(latitude=latitude, longitude=longitude) if on_earth else None


def _degrees(angle: tuple[float, float, float], sign: int) -> float:
    degrees, minutes, seconds = map(float, angle)
    return round(sign * (degrees + minutes / 60 + seconds / 3600), 7)  # a centimetre
