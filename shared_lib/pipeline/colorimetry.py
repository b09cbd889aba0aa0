"""Read what numbers stand for without an ICC profile: by CICP code points (ITU-T H.273) or PNG's gAMA and cHRM."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared_lib.pipeline.codecs.bmff import list_properties
from shared_lib.pipeline.codecs.header import find_png_chunks
from shared_lib.pipeline.formats import Format

_UNSPECIFIED, SRGB, PQ, HLG = 2, 13, 16, 18
"""Transfer characteristics (H.273, table 3)."""
_HDR = (PQ, HLG)

_CURVES = {4: 2.2, 5: 2.8, 8: 1.0} | {code: code for code in (SRGB, PQ, HLG)}
_TELEVISION = (1, 6, 14, 15)
# As browsers do: television's codes mean a display's curve in a PNG (ITU-R BT.1886), and sRGB's in any other file.
_PNG_CURVES = _CURVES | dict.fromkeys(_TELEVISION, 2.4)
_HEIF_CURVES = _CURVES | dict.fromkeys((*_TELEVISION, _UNSPECIFIED), SRGB)

Primaries = tuple[float, ...]
"""x and y of red, green, blue and white (CIE 1931)."""

_D65 = (0.3127, 0.329)
SRGB_PRIMARIES: Primaries = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, *_D65)
P3_PRIMARIES: Primaries = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, *_D65)
BT2020_PRIMARIES: Primaries = (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, *_D65)
_NTSC: Primaries = (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, *_D65)
# By their code points (H.273, table 2).
_PRIMARIES = {
    1: SRGB_PRIMARIES,
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.31, 0.316),
    5: (0.64, 0.33, 0.29, 0.6, 0.15, 0.06, *_D65),
    6: _NTSC,
    7: _NTSC,
    9: BT2020_PRIMARIES,
    11: (*P3_PRIMARIES[:6], 0.314, 0.351),
    12: P3_PRIMARIES,
    22: (0.63, 0.34, 0.295, 0.605, 0.155, 0.077, *_D65),
}

_PEAK = 1_000.0  # nits, of HDR that does not state its peak
_MAX_PEAK = 10_000.0  # nits, of PQ
_NEAR = 0.05  # of 1, between a gamma and sRGB's, which libpng and browsers take for the same


@dataclass(frozen=True, slots=True)
class Colorimetry:
    """The encoding of red, green and blue, or of gray."""

    primaries: Primaries
    curve: int | float
    """Maps numbers to light: one of the codes above, or an exponent, which is a float."""
    peak: float = _PEAK
    """Brightest light, nits, of PQ and HLG."""

    @property
    def is_hdr(self) -> bool:
        return self.curve in _HDR


_SRGB = Colorimetry(SRGB_PRIMARIES, SRGB)


def read_colorimetry(data: bytes, real: Format) -> Colorimetry | None:
    """Read the header of a PNG, AVIF or HEIC. Return None for sRGB, or if an ICC profile says it."""
    if real is Format.PNG:
        return _read_png(data)
    return _read_heif(data) if real in (Format.AVIF, Format.HEIC) else None


def _read_png(data: bytes) -> Colorimetry | None:
    """Apply the order of precedence (PNG, third edition, 4.3) as browsers do: cHRM alone means nothing."""
    chunks = find_png_chunks(data, {b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cLLI", b"mDCV"})
    if len(points := chunks.get(b"cICP", b"")) >= 4:
        brightest = _integer(chunks, b"cLLI", 0, 4) or _integer(chunks, b"mDCV", 16, 4)
        found = _colorimetry(_PRIMARIES.get(points[0]), _PNG_CURVES.get(points[1]), brightest / 10_000)
        return found if found != _SRGB or b"iCCP" in chunks else None
    gamma = _integer(chunks, b"gAMA", 0, 4) / 100_000
    if gamma == 0 or b"iCCP" in chunks or b"sRGB" in chunks:
        return None
    if b"cHRM" not in chunks:
        return None if abs(gamma * 2.2 - 1) < _NEAR else Colorimetry(SRGB_PRIMARIES, 1 / gamma)
    white, *colors = (
        (_integer(chunks, b"cHRM", at, 4) / 100_000, _integer(chunks, b"cHRM", at + 4, 4) / 100_000)
        for at in range(0, 32, 8)
    )
    found = Colorimetry(tuple(number for place in (*colors, white) for number in place), 1 / gamma)
    return found if _is_usable(found.primaries) else None


def _read_heif(data: bytes) -> Colorimetry | None:
    properties = list_properties(data)
    described = [content for kind, content in properties if kind == b"colr"]
    points = next((content[4:] for content in described if content.startswith(b"nclx")), b"")
    if len(points) < 4 or any(content.startswith((b"prof", b"rICC")) for content in described):
        return None
    by_kind = dict(properties)
    brightest = _integer(by_kind, b"clli", 0, 2) or _integer(by_kind, b"mdcv", 16, 4) / 10_000
    named, curve = int.from_bytes(points[:2], "big"), int.from_bytes(points[2:4], "big")
    primaries = SRGB_PRIMARIES if named == _UNSPECIFIED else _PRIMARIES.get(named)
    found = _colorimetry(primaries, _HEIF_CURVES.get(curve), brightest)
    return found if found != _SRGB else None


def _colorimetry(primaries: Primaries | None, curve: float | None, brightest: float) -> Colorimetry | None:
    """Return None if one is missing: it is unspecified, reserved or too rare to be known."""
    if primaries is None or curve is None:
        return None
    return Colorimetry(primaries, curve, (min(brightest, _MAX_PEAK) or _PEAK) if curve in _HDR else _PEAK)


def _integer(found: Mapping[bytes, bytes], name: bytes, at: int, size: int) -> int:
    return int.from_bytes(found.get(name, b"")[at : at + size], "big")


Matrix = tuple[tuple[float, ...], ...]
_BRADFORD: Matrix = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))


def matrix_between(one: Primaries, other: Primaries) -> Matrix:
    """Return the matrix from light in the one primaries to light in the other."""
    return multiply(invert(_to_d65(other)), _to_d65(one))


def _to_d65(primaries: Primaries) -> Matrix:
    """Return the matrix to XYZ, with white adapted to sRGB's (http://www.brucelindbloom.com/index.html?Eqn_RGB_XYZ_Matrix.html)."""
    *colors, white = (_xyz(primaries[at], primaries[at + 1]) for at in range(0, 8, 2))
    columns = tuple(zip(*colors, strict=True))
    shares = _apply(invert(columns), white)
    to_xyz = tuple(tuple(value * share for value, share in zip(row, shares, strict=True)) for row in columns)
    seen, wanted = _apply(_BRADFORD, white), _apply(_BRADFORD, _xyz(*_D65))
    scaled = tuple(tuple(value * to / of for value in row) for row, of, to in zip(_BRADFORD, seen, wanted, strict=True))
    return multiply(invert(_BRADFORD), multiply(scaled, to_xyz))


def _is_usable(primaries: Primaries) -> bool:
    try:
        _to_d65(primaries)
    except ZeroDivisionError:
        return False
    return True


def _xyz(x: float, y: float) -> tuple[float, float, float]:
    return x / y, 1.0, (1 - x - y) / y


def multiply(one: Matrix, other: Matrix) -> Matrix:
    columns = tuple(zip(*other, strict=True))
    return tuple(_apply(columns, row) for row in one)


def _apply(rows: Matrix, vector: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sum(a * b for a, b in zip(row, vector, strict=True)) for row in rows)


def invert(matrix: Matrix) -> Matrix:
    """Raises ZeroDivisionError for a matrix without an inverse."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    cofactors = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    determinant = a * cofactors[0][0] + b * cofactors[1][0] + c * cofactors[2][0]
    return tuple(tuple(value / determinant for value in row) for row in cofactors)
