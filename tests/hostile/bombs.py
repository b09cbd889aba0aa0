"""Small files that need much: pixels, frames, metadata, depth, time. Each one's name says what it tries.

Code makes them, so they need no download. The quick tests use some of them, `python -m hostile` all.
"""

import struct
import zlib
from collections.abc import Callable, Iterable

import pyvips
from pipeline import rare
from pipeline.pictures import animation, encode, plain, sample

# Claimed sizes: above the limit on pixels, above that on sides, libwebp's largest, and nearly JPEG's largest.
TOO_LARGE = ((16_000, 15_000), (30_001, 2), (16_383, 16_383), (65_000, 65_000))


def png(width: int, height: int, *more: tuple[bytes, bytes], rows: bytes = bytes(1000), depth: int = 8) -> bytes:
    """Return an RGB PNG with any rows. `more` chunks come before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return join_png([(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")])


def join_png(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def jpeg(width: int, height: int) -> bytes:
    data = bytearray(sample("jpeg"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def gif(width: int, height: int) -> bytes:
    data = sample("gif")
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def webp(width: int, height: int) -> bytes:
    data = encode(plain(10, 10, 1, 2, 3, 4), "webp")  # with alpha, so with VP8X
    return data[:24] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + data[30:]


def avif(width: int, height: int, picture: pyvips.Image | None = None) -> bytes:
    data = bytearray(sample("avif") if picture is None else encode(picture, "avif"))
    size = data.index(b"ispe")
    data[size + 8 : size + 16] = struct.pack(">II", width, height)
    return bytes(data)


def tiff(
    width: int, height: int, *more: tuple[int, int, int, int], following: int = 0, body: bytes = bytes(100)
) -> bytes:
    """Return a gray TIFF of one strip. `more` tags are number, type, count, value; `following` is the next page."""
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, len(body))]
    entries = sorted(({entry[0]: entry for entry in entries} | {entry[0]: entry for entry in more}).values())
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", following) + body


def bmp(width: int, height: int) -> bytes:
    data = sample("bmp")
    return data[:18] + struct.pack("<ii", width, height) + data[26:]


def heic(width: int, height: int) -> bytes:
    data = bytearray(sample("heic"))
    size = data.index(b"ispe")
    data[size + 8 : size + 16] = struct.pack(">II", width, height)
    return bytes(data)


def jxl(width: int, height: int) -> bytes:
    sides = [(0, 1), (3, 2), (height - 1, 30), (0, 3), (3, 2), (width - 1, 30), (1, 1)]  # values and their bits
    header = start = 0
    for value, bits in sides:
        header |= value << start
        start += bits
    return b"\xff\x0a" + header.to_bytes(9, "little") + sample("jxl")[8:]


CLAIMS: dict[str, Callable[[int, int], bytes]] = {
    "png": png, "jpeg": jpeg, "gif": gif, "webp": webp, "avif": avif, "tiff": tiff,
    "bmp": bmp, "heic": heic, "jxl": jxl,
}  # fmt: skip
"""Files whose headers claim a wrong size, px."""


def one_bit(width: int, height: int) -> bytes:
    """Return a PNG of many pixels and few bytes."""
    data: bytes = plain(width, height, 77).pngsave_buffer(bitdepth=1)
    return data


def _make_png_bombs() -> dict[str, bytes]:
    zeros = zlib.compress(bytes(50_000_000), 9)
    frame = struct.pack(">IIIIIHHBB", 0, 100_000, 100_000, 0, 0, 1, 1, 0, 0)
    return {
        "png: as many pixels as are allowed": one_bit(10_000, 10_000),
        "png: some more": one_bit(10_001, 10_000),
        "png: a line as long as is allowed": one_bit(30_000, 1),
        "png: as many pixels, interlaced, 16 bits": _interlaced(),
        "png: rows that inflate beyond its size": png(10, 10, rows=bytes(200_000_000)),
        "png: compressed text": png(10, 10, (b"zTXt", b"a\0\0" + zeros), rows=bytes(310)),
        "png: compressed international text": png(10, 10, (b"iTXt", b"a\0\1\0\0\0" + zeros), rows=bytes(310)),
        "png: compressed profile": png(10, 10, (b"iCCP", b"a\0\0" + zeros), rows=bytes(310)),
        "png: text without end": png(10, 10, *[(b"tEXt", b"a\0" + b"b" * 1_000)] * 20_000, rows=bytes(310)),
        "png: chunks without end": png(10, 10, *[(b"prIV", b"")] * 1_000_000, rows=bytes(310)),
        "png: a directory of EXIF that leads to itself": png(10, 10, (b"eXIf", _looping_exif()), rows=bytes(310)),
        "apng: frames that there are not": png(10, 10, (b"acTL", struct.pack(">II", 2**31 - 1, 0)), rows=bytes(310)),
        "apng: a frame larger than its canvas": png(
            10, 10, (b"acTL", struct.pack(">II", 2, 0)), (b"fcTL", frame), rows=bytes(310)
        ),
        "png and zip": png(10, 10, rows=bytes(310)) + b"PK\x05\x06" + bytes(18),
    }


def _interlaced() -> bytes:
    image = pyvips.Image.black(10_000, 10_000, bands=4).cast("ushort").copy(interpretation="rgb16")
    data: bytes = image.pngsave_buffer(interlace=True, compression=1)
    return data


def _looping_exif(order: str = ">") -> bytes:
    """Return EXIF with two tags that point at their own directory, which is also its own successor."""
    tags = struct.pack(f"{order}HHII", 0x8769, 4, 1, 8) + struct.pack(f"{order}HHII", 0x014A, 4, 1, 8)
    return (
        (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}IH", 8, 2) + tags + struct.pack(f"{order}I", 8)
    )


def _make_jpeg_bombs() -> dict[str, bytes]:
    plain_one, progressive = sample("jpeg"), plain(6_000, 6_000, 9, 9, 9).jpegsave_buffer(interlace=True)
    scan = progressive.rindex(b"\xff\xda")
    app = struct.pack(">H", 65_535)
    exif = b"Exif\0\0" + _looping_exif()
    return {
        "jpeg: scans without end": progressive[:-2] + progressive[scan:-2] * 2_000 + b"\xff\xd9",
        "jpeg: a profile of 255 parts": plain_one[:2]
        + b"".join(b"\xff\xe2" + app + b"ICC_PROFILE\0" + bytes([part, 255]) + bytes(65_519) for part in range(1, 256))
        + plain_one[2:],
        "jpeg: comments without end": plain_one[:2] + (b"\xff\xfe" + app + bytes(65_533)) * 1_000 + plain_one[2:],
        "jpeg: a directory of EXIF that leads to itself": plain_one[:2]
        + b"\xff\xe1"
        + struct.pack(">H", len(exif) + 2)
        + exif
        + plain_one[2:],
        "jpeg: padding without end": plain_one[:2] + b"\xff" * 10_000_000 + plain_one[2:],
        "jpeg: no lines": jpeg(160, 0),
    }


def _make_gif_bombs() -> dict[str, bytes]:
    frame = b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\x02\x02\x44\x01\0"
    head = b"GIF89a" + struct.pack("<HH", 1, 1) + b"\x80\0\0" + bytes(6)
    wide = b"GIF89a" + struct.pack("<HH", 30_000, 3_000) + b"\x80\0\0" + bytes(6)
    large = b"\x2c" + struct.pack("<HHHH", 0, 0, 65_535, 65_535) + b"\0\x02\x02\x44\x01\0"
    return {
        "gif: frames without end": head + frame * 500_000 + b";",
        "gif: frames without end, on a large canvas": wide + frame * 1_000 + b";",
        "gif: a first frame larger than its canvas": head + large + b";",
        "gif: a second frame larger than its canvas": head + frame + large + b";",
        "gif: a comment without end": head + b"!\xfe" + (b"\xff" + bytes(255)) * 100_000 + b"\0" + frame + b";",
        "gif: codes without end": head + frame[:11] + (b"\xff" + bytes(255)) * 100_000 + b"\0;",
    }


def _make_tiff_bombs() -> dict[str, bytes]:
    # A strip of 100 MB of zeros in a gray image that claims 10 x 10 px. The tags precede it, at a known offset.
    zeros = zlib.compress(bytes(100_000_000), 9)
    body = 8 + 2 + 12 * 9 + 4
    deflated = (259, 3, 1, 8), (273, 4, 1, body), (279, 4, 1, len(zeros))
    return {
        "tiff: a page that leads to itself": tiff(10, 10, following=8),
        "tiff: a page inside that leads to itself": tiff(10, 10, (330, 4, 1, 8)),
        "tiff: a strip that inflates": tiff(10, 10, *deflated, body=zeros),
        "tiff: a strip that inflates to what is allowed": tiff(10_000, 10_000, *deflated, body=zeros),
        "tiff: strips without end": tiff(10, 10_000, (278, 4, 1, 1), (273, 4, 2**31, 8), (279, 4, 2**31, 8)),
        "tiff: tiles larger than it": tiff(
            10, 10, (322, 4, 1, 65_520), (323, 4, 1, 65_520), (324, 4, 1, 8), (325, 4, 1, 8)
        ),
        "tiff: channels without end": tiff(10, 10, (277, 3, 1, 65_535)),
        "tiff: bits without end": tiff(10, 10, (258, 3, 1, 65_535)),
        "tiff: tags without end": b"II*\0"
        + struct.pack("<IH", 8, 65_535)
        + struct.pack("<HHII", 270, 2, 1, 0) * 65_535,
        "tiff: a profile beyond its end": tiff(10, 10, (34_675, 7, 2**31, 8)),
        "tiff: one row of all bytes": tiff(30_000, 3_333, (278, 4, 1, 2**32 - 1)),
    }


def _make_webp_and_avif_bombs() -> dict[str, bytes]:
    animated = animation(".webp")
    second = animated.index(b"ANMF", animated.index(b"ANMF") + 4) + 8
    wider = animated[: second + 6] + (16_000).to_bytes(3, "little") * 2 + animated[second + 12 :]
    first = animated.index(b"ANMF")
    end = first + 8 + int.from_bytes(animated[first + 4 : first + 8], "little")
    many = animated[:first] + animated[first:end] * 20_000
    large = plain(9_000, 9_000, 1, 2, 3)
    return {
        "webp: a second frame larger than its canvas": wider,
        "webp: frames without end": many[:4] + struct.pack("<I", len(many) - 8) + many[8:],
        "webp: one that is smaller than it says": webp(9_000, 9_000),
        "avif: one that is larger than it says": avif(10, 10, large),
        "avif: one that says nothing of its size": sample("avif").replace(b"ispe", b"ispX"),
        "avif: boxes without end": sample("avif") + b"\0\0\0\x08free" * 500_000,
        "avif: a box beyond its end": b"\xff\xff\xff\xff" + sample("avif")[4:],
    }


def _make_rare_bombs() -> dict[str, bytes]:
    """Return bombs for our own code, which reads these files or repairs them for a library."""
    odd = sample("avif")
    table = odd.index(b"ipma") - 4
    many = struct.pack(">I", 16) + b"ipma" + bytes(4) + b"\xff" * 4
    endless = odd[: table + 12] + b"\xff" * 4 + odd[table + 16 :]
    inside = bytearray(odd[:table] + many * 50_000 + odd[table:])
    for box in (b"meta", b"iprp"):
        at = inside.index(box) - 4
        inside[at : at + 4] = (int.from_bytes(inside[at : at + 4], "big") + 16 * 50_000).to_bytes(4, "big")
    header = struct.pack("<IiiHHIIiiII", 40, 10_000, 10_000, 1, 2, 0, 0, 0, 0, 4, 0)
    tiled = plain(64, 64, 9, 9, 9).tiffsave_buffer(tile=True, tile_width=32, tile_height=32)
    return {
        "avif: tables of properties without end": bytes(inside),
        "avif: a table of four billion items": endless,
        "bmp: two bits a pixel, and none of them there": b"BM" + struct.pack("<IHHI", 0, 0, 0, 70) + header + bytes(16),
        "bmp: a first pixel beyond its end": b"BM"
        + struct.pack("<IHHI", 0, 0, 0, 2**32 - 1)
        + rare.bmp(32, 3, 56, [1])[14:],
        "bmp: a profile beyond its end": rare.bmp(32, 3, 124, [1])[:70] + b"DEBM" + b"\xff" * 64 + bytes(4),
        "gif: a first frame in a far corner": rare.gif(1, 1, rare.frame((65_000, 65_000, 1, 1), 1)),
        "gif: a first frame of nothing": rare.gif(65_535, 1, rare.frame((0, 0, 0, 0), 1)),
        "jpeg: lossless": rare.lossless_jpeg(plain(64, 64, 77)),
        "png: colors of nowhere": png(10, 10, (b"gAMA", b"\xff" * 4), (b"cHRM", bytes(32)), rows=bytes(310)),
        "png: light brighter than any": png(
            10, 10, (b"cICP", b"\x09\x10\0\1"), (b"cLLI", b"\xff" * 8), rows=bytes(310)
        ),
        "tiff: tiles of no codec": rare.with_tag(tiled, 259, 50_000),
        "tiff: five channels of gray": plain(9, 9, 1).bandjoin([2, 3, 4, 5]).cast("uchar").tiffsave_buffer(),
    }


QUICK_BOMBS = {
    "gif": _make_gif_bombs,
    "tiff": _make_tiff_bombs,
    "webp and avif": _make_webp_and_avif_bombs,
    "rare": _make_rare_bombs,
}
"""Bombs that are made and processed quickly."""


def make_all() -> dict[str, bytes]:
    claims = {
        f"{name}: claims {width} x {height}": claim(width, height)
        for name, claim in CLAIMS.items()
        for width, height in (*TOO_LARGE, (9_000, 9_000))
    }
    return (
        claims
        | _make_png_bombs()
        | _make_jpeg_bombs()
        | _make_gif_bombs()
        | _make_tiff_bombs()
        | _make_webp_and_avif_bombs()
        | _make_rare_bombs()
        | {"nothing": b"", "zeros": bytes(1_000_000), "zip": b"PK\x03\x04" + bytes(100)}
    )
