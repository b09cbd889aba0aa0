"""Boxes of ISO base media files, which AVIF, HEIC and JPEG XL are."""

from collections.abc import Iterator
from itertools import islice

_MAX_BOXES = 10_000  # in one box
_MAX_ITEMS = 10_000  # images, tiles, previews and metadata


def list_boxes(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield each box's type, and where its content starts and ends (ISO/IEC 14496-12, 4.2)."""
    end = len(data) if end is None else min(end, len(data))
    while at + 8 <= end:
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        stop = at + size if size else end
        yield kind, at + head, stop
        at = max(stop, at + head)


def list_properties(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return type and content of the properties of a HEIF file's primary image (ISO/IEC 23008-12, 9.3)."""
    primary, described = _find_inside_meta(data, b"pitm"), _find_inside_meta(data, b"iprp")
    if primary is None or described is None:
        return []
    number = _integer(data, primary[0] + 4, 2 if data[primary[0]] == 0 else 4)
    container = _find(data, b"ipco", *described)
    if container is None:
        return []
    properties = [(kind, data[start:end]) for kind, start, end in islice(list_boxes(data, *container), _MAX_BOXES)]
    return [properties[index - 1] for index in _indices(data, described, number) if 0 < index <= len(properties)]


def join_tables(data: bytes) -> bytes:
    """Merge a HEIF file's `ipma` boxes, which assign properties to items, into one of the same total size.

    Several with the same version and flags are invalid, and common: some encoders write one per item.
    """
    described = _find_inside_meta(data, b"iprp")
    boxes = islice(list_boxes(data, *described), _MAX_BOXES) if described else ()
    tables = [(start, end) for kind, start, end in boxes if kind == b"ipma"]
    heads = {data[start : start + 4] for start, _ in tables}
    if len(tables) < 2 or len(heads) > 1 or tables[-1][1] > len(data):
        return data
    first, last = tables[0][0], tables[-1][1]
    count = sum(_integer(data, start + 4, 4) for start, _ in tables)
    items = b"".join(data[start + 8 : end] for start, end in tables)
    if last - first != len(items) + 8 + 16 * (len(tables) - 1) or count > 0xFFFFFFFF:
        return data
    joined = data[first : first + 4] + count.to_bytes(4, "big") + items
    size = (8 + last - first).to_bytes(4, "big")
    return b"".join((data[: first - 8], size, b"ipma", joined.ljust(last - first, b"\0"), data[last:]))


def _indices(data: bytes, described: tuple[int, int], item: int) -> Iterator[int]:
    """Yield the numbers of an item's properties, from 1, in all `ipma` boxes (ISO/IEC 23008-12, 9.3.2)."""
    for kind, start, end in islice(list_boxes(data, *described), _MAX_BOXES):
        if kind != b"ipma":
            continue
        id_size, index_size = 4 if data[start] else 2, 2 if data[start + 3] & 1 else 1
        at = start + 8
        for _ in range(min(_integer(data, start + 4, 4), _MAX_ITEMS)):
            if at >= min(end, len(data)):
                break
            count = _integer(data, at + id_size, 1)
            first = at + id_size + 1
            if _integer(data, at, id_size) == item:
                essential = 0x80 << 8 * (index_size - 1)
                yield from (_integer(data, first + n * index_size, index_size) % essential for n in range(count))
            at = first + count * index_size


def _find_inside_meta(data: bytes, wanted: bytes) -> tuple[int, int] | None:
    meta = _find(data, b"meta", 0, len(data))
    return None if meta is None else _find(data, wanted, meta[0] + 4, meta[1])


def _find(data: bytes, wanted: bytes, at: int, end: int) -> tuple[int, int] | None:
    boxes = islice(list_boxes(data, at, end), _MAX_BOXES)
    return next(((start, stop) for kind, start, stop in boxes if kind == wanted), None)


def _integer(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")
