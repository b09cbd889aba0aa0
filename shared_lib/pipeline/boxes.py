"""Boxes of ISO base media files, which AVIF, HEIC and JPEG XL are: what they say of the image that is shown."""

from collections.abc import Iterator
from itertools import islice

_MAX_BOXES = 10_000  # in one other
_MAX_ITEMS = 10_000  # images, tiles, previews and metadata


def list_boxes(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Each box's type, and where its content starts and ends (ISO/IEC 14496-12, 4.2)."""
    end = len(data) if end is None else min(end, len(data))
    while at + 8 <= end:
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        stop = at + size if size else end
        yield kind, at + head, stop
        at = max(stop, at + head)


def list_properties(data: bytes) -> list[tuple[bytes, bytes]]:
    """Type and content of what a HEIF file says of its primary image (ISO/IEC 23008-12, 9.3)."""
    meta = _find(data, b"meta", 0, len(data))
    if meta is None:
        return []
    inside = meta[0] + 4, meta[1]
    primary, described = _find(data, b"pitm", *inside), _find(data, b"iprp", *inside)
    if primary is None or described is None:
        return []
    number = _integer(data, primary[0] + 4, 2 if data[primary[0]] == 0 else 4)
    container = _find(data, b"ipco", *described)
    if container is None:
        return []
    properties = [(kind, data[start:end]) for kind, start, end in islice(list_boxes(data, *container), _MAX_BOXES)]
    return [properties[index - 1] for index in _indices(data, described, number) if 0 < index <= len(properties)]


def _indices(data: bytes, described: tuple[int, int], item: int) -> Iterator[int]:
    """Which properties an item has, counted from 1 (ISO/IEC 23008-12, 9.3.2); in several boxes, if there are."""
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


def _find(data: bytes, wanted: bytes, at: int, end: int) -> tuple[int, int] | None:
    boxes = islice(list_boxes(data, at, end), _MAX_BOXES)
    return next(((start, stop) for kind, start, stop in boxes if kind == wanted), None)


def _integer(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")
