"""Rare kinds of files, which no available library writes: built byte by byte, or patched."""

import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pyvips

COLORS = bytes([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
"""A GIF's palette: black, red, green, blue."""


def gif(width: int, height: int, *frames: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF1, 0, 0) + COLORS + b"".join(frames) + b";"


def frame(box: tuple[int, int, int, int], color: int, delay: int = 0) -> bytes:
    """Return a GIF's frame: a box (left, top, width, height) of one color, and a delay in 1/100 s."""
    _, _, width, height = box
    control = b"!\xf9\4\4" + struct.pack("<H", delay) + b"\0\0"
    return control + b"," + struct.pack("<HHHHB", *box, 0) + _compress([color] * (width * height))


def _compress(pixels: Iterable[int]) -> bytes:
    """Compress by LZW without a dictionary: clear the codes before they get longer than three bits."""
    codes = [code for pixel in pixels for code in (4, pixel)] + [5]
    packed = sum(code << 3 * at for at, code in enumerate(codes)).to_bytes(len(codes) * 3 // 8 + 1, "little")
    blocks = [packed[at : at + 255] for at in range(0, len(packed), 255)]
    return b"\2" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def bmp(bits: int, compression: int, header: int, pixels: Sequence[int], masks: Sequence[int] = ()) -> bytes:
    """Return a bitmap of one row of words. Masks follow the shortest header, and are part of all others."""
    row = b"".join(pixel.to_bytes(bits // 8, "little") for pixel in pixels)
    told = struct.pack("<IiiHHIIiiII", header, len(pixels), 1, 1, bits, compression, len(row), 0, 0, 0, 0)
    told += b"".join(struct.pack("<I", mask) for mask in masks)
    told = told.ljust(header, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + len(told) + len(row), 0, 0, 14 + len(told)) + told + row + bytes(2)


def run_lengths(bits: int, width: int, height: int, data: bytes, palette: bytes) -> bytes:
    """Return a bitmap of run lengths, of four or eight bits a pixel. The palette has four bytes for each color."""
    start = 54 + len(palette)
    compression, colors = {8: 1, 4: 2}[bits], len(palette) // 4
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, colors, 0)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + palette + data


def with_tag(tiff: bytes, tag: int, value: int) -> bytes:
    """Return a little-endian TIFF with another value in one of its short tags."""
    start = int.from_bytes(tiff[4:8], "little")
    for at in range(start + 2, start + 2 + 12 * int.from_bytes(tiff[start : start + 2], "little"), 12):
        if int.from_bytes(tiff[at : at + 2], "little") == tag:
            return tiff[: at + 8] + struct.pack("<H", value) + tiff[at + 10 :]
    raise LookupError(tag)


def lossless_jpeg(image: pyvips.Image) -> bytes:
    """Encode one channel, predicted from the left (ITU-T T.81, annex H), with difference lengths of four bits."""
    pixels = image.write_to_memory()
    rows = [pixels[at : at + image.width] for at in range(0, len(pixels), image.width)]
    above, bits = 128, ""
    for row in rows:
        for before, value in pairwise((above, *row)):
            difference = value - before
            length = abs(difference).bit_length()
            bits += f"{length:04b}"
            bits += f"{difference if difference > 0 else difference + (1 << length) - 1:0{length}b}" if length else ""
        above = row[0]
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    lengths = bytes([0, 0, 0, 9]).ljust(16, b"\0")
    return b"".join(
        (
            b"\xff\xd8",
            b"\xff\xc4" + struct.pack(">HB", 19 + 9, 0) + lengths + bytes(range(9)),
            b"\xff\xc3" + struct.pack(">HBHHBBBB", 11, 8, image.height, image.width, 1, 1, 0x11, 0),
            b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 0, 0),
            scan,
            b"\xff\xd9",
        )
    )


def with_two_tables(avif: bytes) -> bytes:
    """Return an AVIF with alpha and an `ipma` box for each item, as many encoders wrote them."""
    table = avif.index(b"ipma") - 4
    alpha = table + 16 + 3 + avif[table + 18]  # after the first item's number, and its properties' count and numbers
    end = table + int.from_bytes(avif[table : table + 4], "big")
    one = (1).to_bytes(4, "big")
    first, second = (
        struct.pack(">I", 16 + len(item)) + b"ipma" + bytes(4) + one + item
        for item in (avif[table + 16 : alpha], avif[alpha:end])
    )
    longer = bytearray(avif[:table] + first + second + avif[end:])
    for name in (b"meta", b"iprp"):
        _add(longer, longer.index(name) - 4, 16)
    places = longer.index(b"iloc") + 12
    for item in range(int.from_bytes(longer[places - 2 : places], "big")):
        _add(longer, places + 18 * item + 4, 16)
    return bytes(longer)


def _add(data: bytearray, at: int, number: int) -> None:
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") + number).to_bytes(4, "big")
