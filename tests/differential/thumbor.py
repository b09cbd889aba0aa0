"""Compare our answers to thumbor's URLs with thumbor's own.

    make compare-thumbor

Each URL is requested from both. Status, width, height and format must be equal, and the pixels nearly so (SSIM). What
may differ is listed with its reason, which `docs/dialects.md` states, too. Fails if anything else differs.
"""

import io
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pyvips
import requests
from PIL import Image
from service import ROOT, Api, find_free_port, start_platform, wait_for

from benchmarks.pipeline.similarity import ssim

THUMBOR = ROOT / ".cache/thumbor/bin/thumbor"
PHOTOGRAPHS = ROOT / "tests/golden/photographs"
LEAST_SSIM = 0.95
CONFIGURATION = """
LOADER = "thumbor.loaders.file_loader"
FILE_LOADER_ROOT_PATH = {root!r}
STORAGE = "thumbor.storages.no_storage"
RESPECT_ORIENTATION = True
SECURITY_KEY = "a-key-of-16-chars-or-more"
"""


@dataclass(frozen=True)
class Departure:
    """A known difference in the answers to URLs that contain the pattern."""

    pattern: str
    reason: str
    least_ssim: float | None = None
    """None: the pixels are not compared."""
    may_differ: frozenset[str] = frozenset()
    """Of status, size and format."""


DEPARTURES = (
    Departure(r"/smart/", "smart chooses by attention, and thumbor has no detector by default"),
    Departure(r"noise\(", "noise is random, and thumbor's is uniform"),
    Departure(r"sharpen\(", "sharpen is an unsharp mask here", 0.8),
    Departure(r"repeat", "repeat leaves no space between tiles here", 0.5),
    Departure(r"round_corner\(", "the edges of round corners are smoothed otherwise", 0.9),
    Departure(r"fill\(blur\)", "thumbor cuts off the blur at 50 px", 0.9),
    Departure(r"300x300", "libvips enlarges by bicubic interpolation, and thumbor by Lanczos 3", 0.9),
    Departure(r"fit-in/90x0", "thumbor decodes fewer pixels of a JPEG", 0.9),
    Departure(r"trim", "what is cut of a trimmed image may lie a pixel beside", 0.9),
    Departure(r"extract_focal\(", "thumbor 7.8 finds no crop: it encodes the colon", None, frozenset({"status"})),
)

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
    "unknown(1,2)",
    "brightness(a)",
    "focal(0x0:30x30)",
    "focal(100x50:140x90):focal(0x0:10x10)",
    "background_color(blue)",
    "fill(red)",
    "watermark({mark},10,-10,30)",
    "watermark({mark},center,center,0,20)",
    "watermark({mark},-5p,20p,0,none,30)",
    "watermark({mark},repeat,5,50,20)",
    "watermark(missing,0,0,0)",
    "quality(50):rotate(90):fill(lime)",
)
FILLS = ("fill(blue)", "fill(f0f)", "fill(auto)", "fill(blur)", "fill(cornflowerblue,1)", "upscale()", "no_upscale()")
OTHERS = (
    "trim/{image}",
    "trim:top-left:30/{image}",
    "trim:bottom-right:10/50x40/{image}",
    "trim/fit-in/60x60/{image}",
    "debug/filters:focal(20x20:60x60)/{image}",
    "100x80/smart/{image}",
    "100x80/missing",
    "9x9:8x8/{image}",
    "filters:extract_focal()/example.com/unsafe/10x10:40x40/{image}",
)


def list_urls(images: Mapping[str, str]) -> Iterator[str]:
    """Yield the parts of URLs that follow `unsafe/`."""
    photograph, jpeg, drawing, odd = (images[each] for each in ("photograph", "jpeg", "drawing", "odd"))
    for fit, size, image in product(FITS, SIZES, (photograph, odd)):
        yield f"{fit}{size}/{image}"
    for place, size in product(PLACES, ("100x40", "40x100")):
        yield f"{size}/{place}{odd}"
    for crop, size in product(CROPS, ("", "30x30/", "fit-in/30x30/")):
        yield f"{crop}{size}{photograph}"
    for each in FILTERS:
        yield f"120x90/filters:{each.format(mark=images['mark'])}/{jpeg}"
    for each in FILTERS[:12]:
        yield f"80x80/filters:{each}:format(png)/{drawing}"
    for each, size in product(FILLS, ("fit-in/300x300", "fit-in/90x0", "200x90")):
        yield f"{size}/filters:{each}/{jpeg}"
    for other in OTHERS:
        yield other.format(image=drawing if "trim" in other else photograph)


def make_images() -> dict[str, bytes]:
    """Make small images: a photograph, one of odd sides, a drawing with borders, and a mark with transparency.

    Most are PNG: of a JPEG thumbor decodes fewer pixels than we do, and of those that are left SSIM is lower.
    """
    with Image.open(PHOTOGRAPHS / "cat.jpg") as cat:
        photograph, odd = cat.resize((200, 133)), cat.crop((0, 0, 201, 251))
    drawing = Image.new("RGB", (160, 120), "white")
    drawing.paste(photograph.resize((90, 60)), (30, 20))
    mark = Image.new("RGBA", (40, 20), (0, 60, 200, 160))
    mark.paste((0, 0, 0, 0), (10, 5, 30, 15))
    return {
        "photograph": _encode(photograph, "PNG"),
        "jpeg": _encode(photograph, "JPEG"),
        "odd": _encode(odd, "PNG"),
        "drawing": _encode(drawing, "PNG"),
        "mark": _encode(mark, "PNG"),
    }


def _encode(image: "Image.Image", form: str) -> bytes:
    data = io.BytesIO()
    image.save(data, form, quality=95)
    return data.getvalue()


@contextmanager
def run_thumbor(folder: Path) -> Iterator[str]:
    """Run thumbor on the files of a folder, and yield its address."""
    port = find_free_port()
    configuration = folder / "thumbor.conf"
    configuration.write_text(CONFIGURATION.format(root=str(folder)))
    process = subprocess.Popen([THUMBOR, "--ip=127.0.0.1", f"--port={port}", f"--conf={configuration}"])
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        try:
            return requests.get(f"{url}/healthcheck", timeout=10).status_code == 200
        except requests.ConnectionError:
            return False

    try:
        wait_for(is_ready, bool, 30)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def compare(theirs: requests.Response, ours: requests.Response) -> dict[str, str]:
    """Return what differs, and how."""
    if theirs.status_code != ours.status_code or ours.status_code != 200:
        statuses = theirs.status_code, ours.status_code
        return {} if statuses[0] == statuses[1] else {"status": f"{statuses[0]} there, {statuses[1]} here"}
    with Image.open(io.BytesIO(theirs.content)) as there, Image.open(io.BytesIO(ours.content)) as here:
        found = {}
        if there.format != here.format:
            found["format"] = f"{there.format} there, {here.format} here"
        if there.size != here.size:
            return found | {"size": f"{there.size} there, {here.size} here"}
    pixels = (pyvips.Image.new_from_buffer(each.content, "") for each in (theirs, ours))
    similarity = ssim(*(each.flatten() if each.hasalpha() else each for each in pixels))
    return found | {"pixels": f"{similarity:.3f}"}


def judge(url: str, found: dict[str, str]) -> tuple[str, str]:
    """Return `equal`, `explained` or `wrong`, and what differs."""
    departure = next((each for each in DEPARTURES if re.search(each.pattern, url)), None)
    similarity = float(found.pop("pixels", "1"))
    if not found and similarity >= LEAST_SSIM:
        return "equal", ""
    described = ", ".join([*(f"{name}: {how}" for name, how in found.items()), f"SSIM {similarity:.3f}"])
    if departure and found.keys() <= departure.may_differ and similarity >= (departure.least_ssim or -1):
        return "explained", f"{described} ({departure.reason})"
    return "wrong", described


def main() -> int:
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        platform = start_platform(folder / "platform", DELIVERY_NEW_PER_HOUR="100000")
        try:
            api = Api(f"{platform.url}/api/v1", requests.Session())
            (folder / "images").mkdir()
            images = {}
            for kind, data in make_images().items():
                images[kind] = uuid = api.upload(data)
                api.await_end(uuid)
                (folder / "images" / uuid).write_bytes(data)
            with run_thumbor(folder / "images") as thumbor, requests.Session() as session:
                started = time.monotonic()
                for url in list_urls(images):
                    addresses = f"{thumbor}/unsafe/{url}", f"{platform.url}/thumbor/unsafe/{url}"
                    theirs, ours = (session.get(each, timeout=60) for each in addresses)
                    verdict, described = judge(url, compare(theirs, ours))
                    counts[verdict] += 1
                    if verdict != "equal":
                        print(f"{verdict:9}  {url}  {described}", flush=True)
                seconds = time.monotonic() - started
        finally:
            platform.stop()
    total = counts.total()
    print(f"{total} URLs in {seconds:.0f} s: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
