"""Mutants: files with random changes, which are the same for the same seed.

Bytes are changed anywhere, as by a fuzzer. A file is also split into its format's pieces, so that many mutants are
well-formed enough to reach the inner parts of a decoder.
"""

import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

_PNG = b"\x89PNG\r\n\x1a\n"


class _Form(NamedTuple):
    """The layout of a format: pieces that each contain their own length."""

    start: int | None
    """Offset of the first piece; None if it must be looked up."""
    length_at: int
    """Within a piece."""
    length_size: int
    order: Literal["big", "little"]
    beside: int = 0
    """Bytes of a piece that are not included in its length."""
    starts_with: bytes = b""

    def read_length(self, piece: bytes) -> int:
        return int.from_bytes(piece[self.length_at : self.length_at + self.length_size], self.order)


_FORMS = {
    rb"\x89PNG\r\n\x1a\n": _Form(8, 0, 4, "big", beside=12),
    rb"RIFF": _Form(12, 4, 4, "little", beside=8),
    rb"....ftyp": _Form(0, 0, 4, "big"),
    # Up to the first scan. No lengths follow it, so the rest is one piece.
    rb"\xff\xd8": _Form(2, 2, 2, "big", beside=2, starts_with=b"\xff"),
    # A tag's length is its number of values.
    rb"II\*\0": _Form(None, 4, 4, "little"),
    rb"MM\0\*": _Form(None, 4, 4, "big"),
}

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers at which counters overflow or signs change."""

_ORDERS: tuple[Literal["big", "little"], ...] = ("big", "little")

_TEXT_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_TEXT_NUMBERS = (b"0", b"-1", b"1e9", b"1e-9", b"1e39", b"NaN", b"99999", b"1%", b"")


def mutate(data: bytes, seed: str) -> bytes:
    """Return a mutant of a file, with one to four changes."""
    chance = random.Random(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        data = chance.choice(_CHANGES)(data, chance)
    # A wrong checksum would end decoding at the first changed chunk. Half of the mutants keep it.
    return _mend_checksums(data) if chance.random() < 0.7 else data


def _flip_bits(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2, 8, 32))):
        if changed:
            changed[_somewhere(changed, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _write_number(data: bytes, chance: random.Random) -> bytes:
    size, order = chance.choice((1, 2, 4)), chance.choice(_ORDERS)
    at = _somewhere(data, chance)
    return data[:at] + _pack(chance.choice(_NUMBERS), size, order) + data[at + size :]


def _write_text_number(data: bytes, chance: random.Random) -> bytes:
    numbers = list(_TEXT_NUMBER.finditer(data[:100_000]))
    if not numbers or not data.lstrip().startswith(b"<"):
        return _write_number(data, chance)
    number = chance.choice(numbers)
    return data[: number.start()] + chance.choice(_TEXT_NUMBERS) + data[number.end() :]


def _cut_short(data: bytes, chance: random.Random) -> bytes:
    return data[: _somewhere(data, chance)]


def _cut_out(data: bytes, chance: random.Random) -> bytes:
    at = _somewhere(data, chance)
    return data[:at] + data[at + chance.choice((1, 4, 64, 1024)) :]


def _repeat_piece(data: bytes, chance: random.Random) -> bytes:
    at, size = _somewhere(data, chance), chance.choice((1, 4, 64, 1024))
    return data[: at + size] + data[at : at + size] * chance.choice((1, 3, 50)) + data[at + size :]


def _swap_pieces(data: bytes, chance: random.Random) -> bytes:
    pieces = split(data)
    if len(pieces) > 2:
        one, other = chance.randrange(1, len(pieces)), chance.randrange(1, len(pieces))
        pieces[one], pieces[other] = pieces[other], pieces[one]
    return b"".join(pieces)


def _drop_piece(data: bytes, chance: random.Random) -> bytes:
    pieces = split(data)
    if len(pieces) > 1:
        del pieces[chance.randrange(1, len(pieces))]
    return b"".join(pieces)


def _multiply_piece(data: bytes, chance: random.Random) -> bytes:
    pieces = split(data)
    at = chance.randrange(len(pieces))
    times = chance.choice((2, 6, 200)) if len(pieces[at]) < 10_000 else 2
    return b"".join([*pieces[:at], *pieces[at : at + 1] * times, *pieces[at + 1 :]])


def _lie_about_length(data: bytes, chance: random.Random) -> bytes:
    """Change the length in one piece, a little or completely."""
    form, pieces = _form_of(data), split(data)
    if form is None or len(pieces) < 2:
        return _write_number(data, chance)
    chosen = chance.randrange(1, len(pieces))
    piece, end = pieces[chosen], form.length_at + form.length_size
    length = form.read_length(piece)
    length = chance.choice((length + 1, length - 1, length * 2, chance.choice(_NUMBERS)))
    pieces[chosen] = piece[: form.length_at] + _pack(length, form.length_size, form.order) + piece[end:]
    return b"".join(pieces)


def _pack(number: int, size: int, order: Literal["big", "little"]) -> bytes:
    """Return a number in so many bytes, truncated if necessary."""
    return (number & (1 << 8 * size) - 1).to_bytes(size, order)


_CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip_bits,
    _flip_bits,
    _write_number,
    _write_text_number,
    _cut_short,
    _cut_out,
    _repeat_piece,
    _swap_pieces,
    _drop_piece,
    _multiply_piece,
    _lie_about_length,
)


def split(data: bytes) -> list[bytes]:
    """Return a format's pieces in order: chunks, segments, boxes, tags, elements. The first contains its name.

    Joined again they are the file. What cannot be split is one piece.
    """
    ends = [end for end in _find_joints(data) if 0 < end < len(data)]
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def _find_joints(data: bytes) -> Iterator[int]:
    form = _form_of(data)
    if form is None:
        return (tag.start() for tag in re.finditer(rb"<", data) if data.lstrip().startswith(b"<"))
    return _find_tags(data, form) if form.start is None else _walk(data, form, form.start)


def _walk(data: bytes, form: _Form, start: int) -> Iterator[int]:
    at = start
    while at < len(data) and data.startswith(form.starts_with, at):
        yield at
        at += max(2, form.beside + form.read_length(data[at:]))
        at += at % 2 * (form.order == "little")  # RIFF's chunks are padded


def _find_tags(data: bytes, form: _Form) -> Iterator[int]:
    """Return the offsets of the tags in a TIFF's first directory."""
    directory = int.from_bytes(data[4:8], form.order)
    count = int.from_bytes(data[directory : directory + 2], form.order)
    return iter(range(directory + 2, directory + 3 + 12 * count, 12))


def _form_of(data: bytes) -> _Form | None:
    return next((form for magic, form in _FORMS.items() if re.match(magic, data, re.DOTALL)), None)


def _mend_checksums(data: bytes) -> bytes:
    if not data.startswith(_PNG):
        return data
    first, *chunks = split(data)
    return first + b"".join(
        chunk[:-4] + struct.pack(">I", zlib.crc32(chunk[4:-4])) if len(chunk) >= 12 else chunk for chunk in chunks
    )


def _somewhere(data: bytes | bytearray, chance: random.Random) -> int:
    """Return a random offset, half of the time near the start, where headers are."""
    return chance.randrange(max(1, min(len(data), 400) if chance.random() < 0.5 else len(data)))
