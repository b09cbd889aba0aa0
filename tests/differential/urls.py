"""The URLs that are requested from thumbor and from us, and the images that they name."""

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from PIL import Image
from service import ROOT

PHOTOGRAPHS = ROOT / "tests/golden/photographs"

SIZES = ("100x80", "80x100", "33x33", "0x50", "50x0", "x", "300x300", "-120x90", "120x-90", "origx50", "60xorig")
FITS = ("", "fit-in/", "full-fit-in/", "adaptive-fit-in/", "adaptive-full-fit-in/")
PLACES = ("", "left/", "right/bottom/", "top/", "center/middle/")
CROPS = ("10x10:60x50/", "0x0:33x20/", "50x40:9999x9999/", "60x60:10x10/")
FILTERS = (
    "brightness(40)",
    "brightness(-30)",
    "contrast(50)",
    "contrast(-50)",
    "saturation(0)",
    "saturation(1.8)",
    "rgb(20,-20,10)",
    "colorize(40,10,70,ff9900)",
    "grayscale()",
    "equalize()",
    "curve([(0,0),(60,90),(255,255)],[(0,20),(255,235)],[(0,0),(255,255)],[(0,0),(128,160),(255,255)])",
    "noise(20,5)",
    "convolution(1;2;1;2;4;2;1;2;1,3,true)",
    "convolution(-1;-1;-1;-1;8;-1;-1;-1;-1,3,false)",
    "blur(3)",
    "blur(9,2)",
    "sharpen(1.5,1.0,true)",
    "rotate(90)",
    "rotate(180)",
    "rotate(-90)",
    "rotate(45)",
    "round_corner(20,255,0,0)",
    "round_corner(30|10,0,0,255)",
    "proportion(0.5)",
    "proportion(1.5)",
    "no_upscale()",
    "stretch()",
    "strip_icc():strip_exif()",
    "quality(30)",
    "format(png)",
    "format(webp)",
    "format(gif)",
    "format(nonsense)",
    "format(gif):format(nonsense)",
    "unknown(1,2)",
    "brightness(a)",
    "brightness( 40 )",
    "focal(0x0:30x30)",
    "focal(100x50:140x90):focal(0x0:10x10)",
    "background_color(blue)",
    "background_color(auto)",
    "background_color(transparent)",
    "fill(red)",
    "watermark({mark},10,-10,30)",
    "watermark({mark},center,center,0,20)",
    "watermark({mark},-5p,20p,0,none,30)",
    "watermark({mark},repeat,5,50,20)",
    "watermark({mark},repeat,repeat,20)",
    "watermark({mark},repeat,repeat,0,25,25)",
    "watermark(missing,0,0,0)",
    "quality(50):rotate(90):fill(lime)",
    "round_corner(20%7C10,255,0,0):fill(%62lue)",
)
FILLS = (
    "fill(blue)",
    "fill(f0f)",
    "fill(auto)",
    "fill(blur)",
    "fill(cornflowerblue,1)",
    "fill(auto,true)",
    "fill(blur,true)",
    "upscale()",
    "no_upscale()",
)
ON_TRANSPARENT = (
    "fill(blue)",
    "fill(blue,true)",
    "fill(transparent,true)",
    "fill(auto)",
    "fill(auto,true)",
    "fill(blur)",
    "fill(blur,true)",
    "background_color(auto)",
    "background_color(f80)",
    "background_color(transparent)",
    "grayscale()",
    "round_corner(10,0,0,0,true)",
    "brightness(20)",
    "format(jpeg)",
)
TRIMMED = ("trim", "trim:top-left:9", "trim:top-left:15", "trim:top-left:20", "trim:bottom-right:17", "trim:15")
ENCODED = ("20x20%2F", "smart%2F", "fit-in%2F20x20/", "filters%3Agrayscale()/", "filters:grayscale%28%29/", "meta%2F")
OTHERS = (
    "trim/{drawing}",
    "trim:top-left:30/{drawing}",
    "trim:bottom-right:10/50x40/{drawing}",
    "trim/fit-in/60x60/{drawing}",
    "debug/filters:focal(20x20:60x60)/{photograph}",
    "100x80/smart/{photograph}",
    "100x80/missing",
    "9x9:8x8/{photograph}",
    "filters:extract_focal()/example.com/unsafe/10x10:40x40/{photograph}",
    "320x/{large}",
    "0x100/{large}",
    "fit-in/333x333/{large}",
    "fit-in/90x0/{large}",
)
SCHEMES = ("{host}/{path}", "http://{host}/{path}", "http%3A%2F%2F{host}%2F{path}")
PATHS = (
    "cat.jpg",
    "cat.jpg%3Fversion=1",
    "image%20space.jpg",
    "image%2520space.jpg",
    "maracuj%C3%A1.jpg",
    "maracuj%25C3%25A1.jpg",
    "%E5%86%99%E7%9C%9F.png",
    "a+b&c='d'.jpg",
    "folder/cat.jpg",
    "missing.jpg",
    "text.txt",
    "cut.jpg",
    "empty.jpg",
)
BEFORE = ("", "50x30/", "fit-in/40x40/filters:fill(blue)/", "trim/20x/", "10x10:30x30/smart/filters:format(png)/")


def list_urls(images: Mapping[str, str]) -> Iterator[str]:
    """Yield the parts of URLs that follow `unsafe/`, of stored images."""
    for parts, names in (*_list_geometry(), *_list_filters()):
        for name in names:
            yield f"{parts.replace('{mark}', images['mark'])}{images[name]}"
    for other in OTHERS:
        yield other.format(**images)


def _list_geometry() -> Iterator[tuple[str, Sequence[str]]]:
    """Yield what comes before the image, and the images' names."""
    yield from ((f"{fit}{size}/", ("photograph", "odd")) for fit, size in product(FITS, SIZES))
    yield from ((f"{size}/{place}", ("odd",)) for place, size in product(PLACES, ("100x40", "40x100")))
    yield from ((f"{crop}{size}", ("photograph",)) for crop, size in product(CROPS, ("", "30x30/", "fit-in/30x30/")))
    yield from ((f"{each}/", ("gray", "drawing", "pierced")) for each in TRIMMED)
    yield from ((each, ("photograph",)) for each in ENCODED)


def _list_filters() -> Iterator[tuple[str, Sequence[str]]]:
    yield from ((f"120x90/filters:{each}/", ("jpeg",)) for each in FILTERS)
    yield from ((f"80x80/filters:{each}:format(png)/", ("drawing",)) for each in FILTERS[:12])
    sizes = ("fit-in/300x300", "fit-in/90x0", "200x90")
    yield from ((f"{size}/filters:{each}/", ("jpeg",)) for each, size in product(FILLS, sizes))
    yield from (
        (f"{size}filters:{each}/", ("pierced",)) for each, size in product(ON_TRANSPARENT, ("", "fit-in/90x90/"))
    )


def list_foreign_urls(host: str) -> Iterator[str]:
    """Yield the parts of URLs that follow `unsafe/`, of files that this host serves over HTTP."""
    for scheme, path, before in product(SCHEMES, PATHS, BEFORE):
        yield before + scheme.format(host=host, path=path)


def make_images() -> dict[str, bytes]:
    """Make small images: a photograph, one of odd sides, a drawing with borders, a mark with transparency, and more.

    Most are PNG: of a JPEG thumbor decodes fewer pixels than we do, and of those that are left SSIM is lower.
    """
    with Image.open(PHOTOGRAPHS / "cat.jpg") as cat:
        photograph, odd = cat.resize((200, 133)), cat.crop((0, 0, 201, 251))
        large = cat.resize((3000, 1999))
    drawing = Image.new("RGB", (160, 120), "white")
    drawing.paste(photograph.resize((90, 60)), (30, 20))
    mark = Image.new("RGBA", (40, 20), (0, 60, 200, 160))
    mark.paste((0, 0, 0, 0), (10, 5, 30, 15))
    gray = Image.new("L", (60, 40), 200)
    gray.paste(190, (10, 10, 40, 30))
    pierced = photograph.convert("RGBA").resize((60, 40))
    pierced.paste((0, 0, 0, 0), (0, 0, 30, 20))
    return {
        "photograph": _encode(photograph, "PNG"),
        "jpeg": _encode(photograph, "JPEG"),
        "odd": _encode(odd, "PNG"),
        "drawing": _encode(drawing, "PNG"),
        "mark": _encode(mark, "PNG"),
        "gray": _encode(gray, "PNG"),
        "pierced": _encode(pierced, "PNG"),
        "large": _encode(large, "JPEG"),
    }


def make_foreign_files() -> dict[str, bytes]:
    """Make files that a server has beside its names: images under names of all kinds, and what is none."""
    images = make_images()
    jpeg, png = images["jpeg"], images["odd"]
    names = ("cat.jpg", "image space.jpg", "maracujá.jpg", "a+b&c='d'.jpg", "folder/cat.jpg")
    return {
        **dict.fromkeys(names, jpeg),
        "写真.png": png,
        "text.txt": b"This is no image.",
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "empty.jpg": b"",
    }


def _encode(image: "Image.Image", form: str) -> bytes:
    data = io.BytesIO()
    image.save(data, form, quality=95)
    return data.getvalue()
