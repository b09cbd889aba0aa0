"""Mutants: a file with something about it changed, by chance, but always the same from the same seed.

Bytes are changed anywhere, as a fuzzer does; and a file is taken apart where its format has joints, so that what comes
out is often well-formed enough to reach the decoder's inner parts.
"""

import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Literal

_PNG = b"\x89PNG\r\n\x1a\n"
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""At which counters overflow or signs change."""

_TEXT_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_TEXT_NUMBERS = (b"0", b"-1", b"1e9", b"1e-9", b"1e39", b"NaN", b"99999", b"1%", b"")


def mutate(data: bytes, seed: str) -> bytes:
    """One mutant of a file; one to four things about it are changed."""
    chance = random.Random(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        data = chance.choice(_CHANGES)(data, chance)
    # A wrong checksum would end it at the first chunk that was changed; as often as not, that is what happens.
    return _mend_checksums(data) if chance.random() < 0.7 else data


def _flip_bits(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2, 8, 32))):
        if changed:
            changed[_somewhere(changed, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _write_number(data: bytes, chance: random.Random) -> bytes:
    size = chance.choice((1, 2, 4))
    at = _somewhere(data, chance)
    number = chance.choice(_NUMBERS) & (1 << 8 * size) - 1
    return data[:at] + number.to_bytes(size, chance.choice(("big", "little"))) + data[at + size :]


def _write_text_number(data: bytes, chance: random.Random) -> bytes:
    numbers = list(_TEXT_NUMBER.finditer(data[:100_000]))
    if not numbers or not data.lstrip()[:1] == b"<":
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
    at = chance.randrange(len(pieces)) if pieces else 0
    return b"".join([*pieces[: at + 1], *pieces[at : at + 1] * chance.choice((1, 5, 200)), *pieces[at + 1 :]])


def _lie_about_length(data: bytes, chance: random.Random) -> bytes:
    """Change the length that one piece gives of itself, by a little or altogether."""
    pieces = split(data)
    form = _form_of(data)
    if form is None or len(pieces) < 2:
        return _write_number(data, chance)
    at, size, order = form
    chosen = chance.randrange(1, len(pieces))
    piece = pieces[chosen]
    length = int.from_bytes(piece[at : at + size], order)
    length = chance.choice((length + 1, length - 1, length * 2, chance.choice(_NUMBERS))) & (1 << 8 * size) - 1
    pieces[chosen] = piece[:at] + length.to_bytes(size, order) + piece[at + size :]
    return b"".join(pieces)


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
    """The pieces that a format is made of, in order: chunks, segments, boxes, tags, elements. The first holds its name.

    Joined again they are the file. What cannot be split is one piece.
    """
    ends = [end for end in _find_joints(data) if 0 < end < len(data)]
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def _find_joints(data: bytes) -> Iterator[int]:
    if data.startswith(_PNG):
        return _walk(data, 8, lambda at: 12 + int.from_bytes(data[at : at + 4], "big"))
    if data.startswith(b"RIFF"):
        return _walk(data, 12, lambda at: 8 + (int.from_bytes(data[at + 4 : at + 8], "little") + 1) // 2 * 2)
    if data[4:8] == b"ftyp":
        return _walk(data, 0, lambda at: max(8, int.from_bytes(data[at : at + 4], "big")))
    if data.startswith(b"\xff\xd8"):
        # Only marker segments: after the first scan there are no lengths to follow, so it ends as one piece.
        return _walk(data, 2, lambda at: 2 + int.from_bytes(data[at + 2 : at + 4], "big"), while_at=b"\xff")
    if data.startswith((b"II*\0", b"MM\0*")):
        order = "<" if data.startswith(b"II") else ">"
        if len(data) < 8 or (directory := struct.unpack(f"{order}I", data[4:8])[0]) + 2 > len(data):
            return iter(())
        (count,) = struct.unpack_from(f"{order}H", data, directory)
        return iter(range(directory + 2, directory + 3 + 12 * count, 12))
    if data.lstrip()[:1] == b"<":
        return (tag.start() for tag in re.finditer(rb"<", data))
    return iter(())


def _walk(data: bytes, start: int, size_at: Callable[[int], int], while_at: bytes = b"") -> Iterator[int]:
    at = start
    while at < len(data) and data.startswith(while_at, at):
        yield at
        at += size_at(at)


def _form_of(data: bytes) -> tuple[int, int, Literal["big", "little"]] | None:
    """Where in a piece its length is: offset and size, bytes, and their order."""
    if data.startswith(_PNG) or data[4:8] == b"ftyp":
        return 0, 4, "big"
    if data.startswith(b"RIFF"):
        return 4, 4, "little"
    if data.startswith(b"\xff\xd8"):
        return 2, 2, "big"
    if data.startswith((b"II*\0", b"MM\0*")):  # of a tag: how many values it has
        return 4, 4, "little" if data.startswith(b"II") else "big"
    return None


def _mend_checksums(data: bytes) -> bytes:
    if not data.startswith(_PNG):
        return data
    first, *chunks = split(data)
    return first + b"".join(
        chunk[:-4] + struct.pack(">I", zlib.crc32(chunk[4:-4])) if len(chunk) >= 12 else chunk for chunk in chunks
    )


def _somewhere(data: bytes | bytearray, chance: random.Random) -> int:
    """An offset; as often as not near the start, where headers are."""
    return chance.randrange(max(1, min(len(data), 400) if chance.random() < 0.5 else len(data)))
