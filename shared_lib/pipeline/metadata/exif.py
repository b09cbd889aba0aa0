"""EXIF: when, where and with which camera a picture was taken (CIPA DC-008-2023).

A field that is missing, broken or implausible is left out. It never makes the image fail.
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
    """Naive if the offset from UTC is unknown."""
    camera_make: str | None = None
    camera_model: str | None = None
    lens_model: str | None = None
    location: Location | None = None


def read_exif(block: bytes) -> Exif:
    """Read a block of EXIF, or a TIFF file, which is one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of every broken tag
            main = Image.Exif()
            main.load(block)  # reads at most as many bytes as the block has, however often tags refer to them
            details = main.get_ifd(IFD.Exif)
            return Exif(
                captured_at=_time(details),
                camera_make=_text(main.get(Base.Make)),
                camera_model=_text(main.get(Base.Model)),
                lens_model=_text(details.get(Base.LensModel)),
                location=_location(main.get_ifd(IFD.GPSInfo)),
            )
    except Exception:  # noqa: BLE001  # any error of the reader, even MemoryError: EXIF must not make the image fail
        return Exif()


def _text(value: object) -> str | None:
    """Clean a text. The standard says ASCII, many phones write UTF-8, and Pillow reads Latin-1."""
    if not isinstance(value, str):
        return None
    with contextlib.suppress(UnicodeError):
        value = value.encode("latin-1").decode()
    return clean_text(value.partition("\0")[0])


def _time(details: Mapping[int, Any]) -> datetime | None:
    time = _TIME.match(_text(details.get(Base.DateTimeOriginal)) or "")
    if time is None:
        return None
    offset = _OFFSET.fullmatch(_text(details.get(Base.OffsetTimeOriginal)) or "")
    year, month, day, clock = time.groups()
    try:
        return datetime.fromisoformat(f"{year}-{month}-{day}T{clock}{offset[0] if offset else ''}")
    except ValueError:  # such as 0000:00:00 00:00:00, from a camera whose clock was never set
        return None


def _location(place: Mapping[int, Any]) -> Location | None:
    try:
        latitude = _degrees(place[GPS.GPSLatitude], {"N": 1, "S": -1}[place[GPS.GPSLatitudeRef].strip("\0 ")])
        longitude = _degrees(place[GPS.GPSLongitude], {"E": 1, "W": -1}[place[GPS.GPSLongitudeRef].strip("\0 ")])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None
    on_earth = abs(latitude) <= 90 and abs(longitude) <= 180  # false for NaN
    return Location(latitude=latitude, longitude=longitude) if on_earth else None


def _degrees(angle: tuple[float, float, float], sign: int) -> float:
    degrees, minutes, seconds = map(float, angle)
    return round(sign * (degrees + minutes / 60 + seconds / 3600), 7)  # about 1 cm
