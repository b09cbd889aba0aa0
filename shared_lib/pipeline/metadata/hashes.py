"""Short forms of an image, computed from its lowest cosine frequencies: ThumbHash, BlurHash and the perceptual hash.

In plain Python, because they use only a thousand pixels, and no maintained library has wheels for every Python and
platform that this service runs on. Their results were compared with those of the authors' own implementations.
"""

import base64
import math
from collections.abc import Sequence
from functools import lru_cache
from operator import mul, sub

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
_FLAT = 0.1  # of 255; ten times the error of a frequency by rounding pixels to integers

Channel = Sequence[float]
"""One channel of an image, row by row."""


def thumb_hash(width: int, height: int, rgba: bytes) -> str:
    """Return the ThumbHash (https://github.com/evanw/thumbhash) in Base64.

    The image has at most 100 x 100 px, and its alpha is not premultiplied.
    """
    red, green, blue, alpha = ([value / 255 for value in rgba[band::4]] for band in range(4))
    visible = sum(alpha)
    translucent = visible < width * height
    if translucent:
        red, green, blue = (_over_its_average(channel, alpha, visible) for channel in (red, green, blue))
    lightness = [(r + g + b) / 3 for r, g, b in zip(red, green, blue, strict=True)]
    yellow_blue = [(r + g) / 2 - b for r, g, b in zip(red, green, blue, strict=True)]
    red_green = list(map(sub, red, green))

    most, longest = 5 if translucent else 7, max(width, height)
    across, down = (max(1, _round(most * side / longest)) for side in (width, height))
    l_dc, l_scale, l_rest = _triangle(lightness, width, max(3, across), max(3, down))
    p_dc, p_scale, p_rest = _triangle(yellow_blue, width, 3, 3)
    q_dc, q_scale, q_rest = _triangle(red_green, width, 3, 3)
    landscape = width > height
    header = _round(63 * l_dc) | _round(31.5 + 31.5 * p_dc) << 6 | _round(31.5 + 31.5 * q_dc) << 12
    header |= _round(31 * l_scale) << 18 | translucent << 23
    header |= ((down if landscape else across) | _round(63 * p_scale) << 3 | _round(63 * q_scale) << 9) << 24
    header |= landscape << 39
    varying, size = l_rest + p_rest + q_rest, 5
    if translucent:
        a_dc, a_scale, a_rest = _triangle(alpha, width, 5, 5)
        header |= (_round(15 * a_dc) | _round(15 * a_scale) << 4) << 40
        varying, size = varying + a_rest, 6
    packed = sum(_round(15 * term) << 4 * at for at, term in enumerate(varying))
    return base64.b64encode(
        header.to_bytes(size, "little") + packed.to_bytes((len(varying) + 1) // 2, "little")
    ).decode()


def blur_hash(width: int, height: int, rgb: bytes) -> str:
    """Return the BlurHash (https://github.com/woltapp/blurhash): 4 x 3 components, or 3 x 4 of an upright image."""
    across, down = (4, 3) if width >= height else (3, 4)
    linear = _linear()
    channels = ([linear[value] for value in rgb[band::3]] for band in range(3))
    spectra = [_frequencies(channel, width, across, down, shift=0) for channel in channels]
    average, *others = zip(*spectra, strict=True)
    rest = [[2 * term for term in component] for component in others]
    # As in the original, in C. Its port to JavaScript overlooks negative terms.
    largest = max(abs(term) for component in rest for term in component)
    scale = max(0, min(82, math.floor(largest * 166 - 0.5)))
    text = _base83(across - 1 + (down - 1) * 9, 1) + _base83(scale, 1)
    red, green, blue = map(_to_srgb, average)
    text += _base83(red << 16 | green << 8 | blue, 4)
    for component in rest:
        red, green, blue = (_quantize(term * 166 / (scale + 1)) for term in component)
        text += _base83((red * 19 + green) * 19 + blue, 2)
    return text


def perceptual_hash(side: int, gray: bytes) -> str | None:
    """Return which of the 8 x 8 lowest frequencies of a square image are above their median, as 16 hex digits.

    None if all pixels are the same. By discrete cosine transform, from the second frequency on: C. Zauner,
    Implementation and Benchmarking of Perceptual Image Hash Functions (2010), 3.2.1.
    """
    spectrum = _frequencies(list(map(float, gray)), side, 9, 9)
    terms = [term for at, term in enumerate(spectrum) if at > 9 and at % 9]
    if max(map(abs, terms)) < _FLAT:
        return None
    # Of 64. A term that differs from it only by noise counts as below it, in every copy of the image.
    median = sum(sorted(terms)[31:33]) / 2
    return f"{sum((term > median + _FLAT) << 63 - at for at, term in enumerate(terms)):016x}"


@lru_cache(maxsize=512)
def _waves(count: int, length: int, shift: float) -> list[Channel]:
    return [tuple(math.cos(math.pi / length * k * (x + shift)) for x in range(length)) for k in range(count)]


def _frequencies(channel: Channel, width: int, across: int, down: int, shift: float = 0.5) -> list[float]:
    """Return the lowest terms of the cosine transform, row by row: the mean of each wave's product with the image."""
    channel = tuple(channel)
    rows = [channel[start : start + width] for start in range(0, len(channel), width)]
    columns = _multiply(_waves(across, width, shift), rows)
    waves = _waves(down, len(rows), shift)
    return [term / len(channel) for row in _multiply(waves, columns) for term in row]


def _multiply(ones: Sequence[Channel], others: Sequence[Channel]) -> list[Channel]:
    """Return, for each of the first, its scalar products with the others.

    By the law of cosines, because `math.dist` takes a quarter of the time of `sum(map(mul, …))`, in every Python.
    """
    squares = [math.hypot(*other) ** 2 for other in others]
    return [
        tuple((own + square - math.dist(one, other) ** 2) / 2 for other, square in zip(others, squares, strict=True))
        for one, own in ((one, math.hypot(*one) ** 2) for one in ones)
    ]


def _triangle(channel: Channel, width: int, across: int, down: int) -> tuple[float, float, list[float]]:
    """Return the mean, the largest of the other terms below the diagonal, and these terms scaled to 0 to 1."""
    spectrum = _frequencies(channel, width, across, down)
    places = ((at % across, at // across) for at in range(len(spectrum)))
    mean, *rest = (term for term, (x, y) in zip(spectrum, places, strict=True) if x * down < across * (down - y))
    scale = max(map(abs, rest))
    return mean, scale, [0.5 + 0.5 / scale * term for term in rest] if scale else rest


def _over_its_average(channel: Channel, alpha: Channel, visible: float) -> list[float]:
    average = sum(map(mul, channel, alpha)) / visible if visible else 0.0
    return [average + (value - average) * opacity for value, opacity in zip(channel, alpha, strict=True)]


def _round(value: float) -> int:
    """Round half up, as JavaScript does."""
    return math.floor(value + 0.5)


@lru_cache(maxsize=1)
def _linear() -> list[float]:
    shares = (value / 255 for value in range(256))
    return [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]


def _to_srgb(value: float) -> int:
    value = max(0.0, min(1.0, value))
    return math.floor((value * 12.92 if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055) * 255 + 0.5)


def _quantize(share: float) -> int:
    return max(0, min(18, math.floor(math.copysign(math.sqrt(abs(share)), share) * 9 + 9.5)))


def _base83(value: int, length: int) -> str:
    return "".join(_DIGITS[value // 83**place % 83] for place in reversed(range(length)))
