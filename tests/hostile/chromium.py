"""Compare what Chromium shows of the corpus with our renditions, to find wrong colors, missing parts and rejections.

    make compare-with-chromium               compare all, print differences from the record, and fail if there are any
    make compare-with-chromium bless=yes     compare all, and update the record
    python -m hostile.chromium FOLDER ...    compare the files in these folders, and print each that differs

Chromium draws each image on a canvas, and a recipe makes a PNG of the same size. Both are averaged to 16 x 16 squares
of red, green, blue (premultiplied) and alpha. Chromium's results are cached in `build/hostile`, by version.
"""

import argparse
import hashlib
import io
import json
import os
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Self

import browser
import numpy as np
import psutil
from hostile import verdicts
from hostile.__main__ import CACHE, RECORD, collect_corpus
from PIL import Image
from playwright.sync_api import Error, Page, sync_playwright

from shared_lib.errors import Rejected, WorkerCrashed
from shared_lib.limits import Limits
from shared_lib.pipeline.codecs.header import count_png_frames
from shared_lib.pipeline.formats import Format, sniff
from shared_lib.pipeline.operations.resize import Resize
from shared_lib.pipeline.output import OutputOptions
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.sandbox.pool import Sandbox

THREADS = os.cpu_count() or 1
LONGEST = 512  # px; larger images are scaled down, each side in its own way
GRID = 16
DIFFERENT = 5.0
"""Of 255, on average over all squares and channels. Smaller differences come from scaling and rounding."""

FILE = RECORD / "chromium.txt"
SAME, ONLY_OURS, REJECTED = "same", "only_ours", "rejected:"
EXPECTED = {SAME, ONLY_OURS}
"""Results that are not recorded. Chromium shows no TIFF, HEIC or JPEG XL, and fewer broken drawings."""

AT_ONCE = 12  # files per batch
DECODE_SECONDS = 20
BATCH_SECONDS = 60
MOST_BYTES = 2 << 30  # memory of a page's process

LOOK = Recipe(
    name="look",
    operations=(Resize(width=LONGEST, height=LONGEST, fit="inside", enlarge=False),),
    output=OutputOptions(format=Format.PNG),
)

DRAW = """async ([urls, longest, grid, patience]) => {
    const draw = async url => {
        const image = new Image()
        image.src = url
        const timeout = new Promise((_, fail) => setTimeout(() => fail(new Error("timeout")), patience * 1000))
        await Promise.race([image.decode(), timeout])
        const [width, height] = [image.naturalWidth, image.naturalHeight]
        const scale = Math.min(1, longest / Math.max(width, height))
        const [w, h] = [width, height].map(side => Math.max(1, Math.round(side * scale)))
        const canvas = new OffscreenCanvas(w, h)
        const context = canvas.getContext("2d", {willReadFrequently: true})
        context.imageSmoothingQuality = "high"
        const still = url.endsWith("?animated") ? await createImageBitmap(await (await fetch(url)).blob()) : image
        context.drawImage(still, 0, 0, w, h)
        const pixels = context.getImageData(0, 0, w, h).data
        const edges = length => Array.from({length: grid}, (_, n) => {
            const first = Math.floor(n * length / grid)
            return [first, Math.max(first + 1, Math.floor((n + 1) * length / grid))]
        })
        const means = []
        for (const [top, bottom] of edges(h)) for (const [left, right] of edges(w)) {
            const sum = [0, 0, 0, 0]
            for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) {
                const at = 4 * (y * w + x), alpha = pixels[at + 3]
                for (let n = 0; n < 3; n++) sum[n] += pixels[at + n] * alpha / 255
                sum[3] += alpha
            }
            means.push(...sum.map(value => Math.round(value / (bottom - top) / (right - left))))
        }
        return {width, height, means}
    }
    return Promise.all(urls.map(url => draw(url).catch(() => null)))
}"""


@dataclass(frozen=True)
class Seen:
    """An image as shown: its size, px, and the means of its squares."""

    width: int
    height: int
    means: list[int]

    def is_as_large_as(self, other: "Seen") -> bool:
        return (self.width, self.height) == (other.width, other.height)

    def has_the_shape_of(self, other: "Seen") -> bool:
        width, height = max(1, other.width), max(1, other.height)
        # Width and height are rounded to whole px.
        return abs(self.width / width - self.height / height) <= 1 / min(width, height)

    def distance_to(self, other: "Seen") -> float:
        return float(np.abs(np.array(self.means) - np.array(other.means)).mean())


Shown = dict[str, Seen | None]
"""Images by SHA-256. None if Chromium shows nothing."""


def look_at_ours(sandbox: Sandbox, data: bytes) -> Seen | str:
    """Return our rendition, or the code of its failure."""
    try:
        rendered = sandbox.render(data, [LOOK])
        png = rendered.get(LOOK.name).data
    except (Rejected, WorkerCrashed) as rejection:
        return rejection.failure if isinstance(rejection, Rejected) else rejection.code
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).astype(float)
    pixels[..., :3] *= pixels[..., 3:] / 255
    rows, columns = (_edges(length) for length in pixels.shape[:2])
    means = [pixels[top:bottom, left:right].mean((0, 1)) for top, bottom in rows for left, right in columns]
    return Seen(rendered.width, rendered.height, [round(value) for mean in means for value in mean])


def _edges(length: int) -> list[tuple[int, int]]:
    starts = [n * length // GRID for n in range(GRID + 1)]
    return [(first, max(first + 1, end)) for first, end in pairwise(starts)]


def look_through_chromium(files: Mapping[str, bytes]) -> Shown:
    """Return Chromium's results by SHA-256, from the cache if they are there."""
    wanted = {hashlib.sha256(data).hexdigest(): data for data in files.values()}
    with Chromium(wanted) as chromium:
        cache = CACHE / f"chromium-{chromium.version}.json"
        seen = _read_cache(cache)
        missing = [digest for digest in wanted if digest not in seen]
        for start in range(0, len(missing), AT_ONCE):
            batch = missing[start : start + AT_ONCE]
            found = chromium.look_at(batch) or [(chromium.look_at([digest]) or [None])[0] for digest in batch]
            seen |= dict(zip(batch, found, strict=True))
            if start % (50 * AT_ONCE) == 0:
                _write_cache(cache, seen)
        _write_cache(cache, seen)
    return {digest: seen[digest] for digest in wanted}


def _read_cache(file: Path) -> Shown:
    if not file.exists():
        return {}
    return {digest: Seen(**found) if found else None for digest, found in json.loads(file.read_text()).items()}


def _write_cache(file: Path, seen: Shown) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({digest: asdict(found) if found else None for digest, found in seen.items()}))


class Chromium:
    """A headless Chromium that loads files by name."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._stack = ExitStack()
        self._origin = self._stack.enter_context(_serve(files))
        playwright = self._stack.enter_context(sync_playwright())
        self._browser = self._stack.enter_context(
            playwright.chromium.launch(executable_path=browser.find_program(), args=browser.OPTIONS)
        )
        self.version = self._browser.version
        self._page: Page | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def look_at(self, names: list[str]) -> list[Seen | None] | None:
        """Return None for each file that is not shown, or None if the batch took too much time or memory."""
        if self._page is None:
            self._page = self._browser.new_page()
            self._page.goto(self._origin)
        done = threading.Event()
        watch = threading.Thread(target=_end_expensive_pages, args=[done])
        watch.start()
        try:
            found = self._page.evaluate(DRAW, [[self._url(name) for name in names], LONGEST, GRID, DECODE_SECONDS])
        except Error:  # the page's process was ended
            self._page = None
            return None
        finally:
            done.set()
            watch.join()
        return [Seen(**each) if each else None for each in found]

    def _url(self, name: str) -> str:
        """An animated PNG would be drawn at its current frame, so its first one is requested in another way."""
        return f"/{name}?animated" if count_png_frames(self._files[name]) > 1 else f"/{name}"


def _end_expensive_pages(done: threading.Event) -> None:
    deadline = time.monotonic() + BATCH_SECONDS
    while not done.wait(0.2):
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                is_page = "--type=renderer" in process.cmdline()
                if is_page and (time.monotonic() > deadline or process.memory_info().rss > MOST_BYTES):
                    process.kill()


@contextmanager
def _serve(files: Mapping[str, bytes]) -> Iterator[str]:
    """Serve the files by name, and an empty page at the root."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = files.get(self.path[1:].partition("?")[0], b"")
            self.send_response(200)
            self.send_header("Content-Type", _media_type(data))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(ConnectionError):  # Chromium has read enough
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def _media_type(data: bytes) -> str:
    """Chromium detects all images by their bytes, except SVG."""
    real = sniff(data)
    return real.content_type if real else "application/octet-stream" if data else "text/html"


def compare(ours: Seen | str, theirs: Seen | None, *, is_drawing: bool) -> tuple[str, float]:
    """Return what differs, in a word, and by how much. A drawing without a size may have any size."""
    if isinstance(ours, str):
        return (f"{REJECTED}{ours}" if theirs else SAME), 0
    if theirs is None:
        return ONLY_OURS, 0
    distance = ours.distance_to(theirs)
    if not (ours.is_as_large_as(theirs) or (is_drawing and ours.has_the_shape_of(theirs))):
        return "size", distance
    return ("pixels" if distance > DIFFERENT else SAME), distance


def compare_all(files: Mapping[str, bytes]) -> dict[str, tuple[str, float]]:
    theirs = look_through_chromium(files)
    sandbox = Sandbox(Limits(), workers=THREADS)
    with ThreadPoolExecutor(THREADS) as threads:
        ours = dict(zip(files, threads.map(lambda data: look_at_ours(sandbox, data), files.values()), strict=True))
    sandbox.close()
    found = {
        name: compare(ours[name], theirs[hashlib.sha256(data).hexdigest()], is_drawing=sniff(data) is Format.SVG)
        for name, data in files.items()
    }
    similar = [distance for word, distance in found.values() if word == SAME]
    print(f"{len(files):,} files; similar ones differ by {statistics.mean(similar or [0]):.2f} of 255 on average")
    for word, count in Counter(word for word, _ in found.values()).most_common():
        print(f"  {word:<29} {count:>6,}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bless", action="store_true", help="update the record")
    parser.add_argument("folders", nargs="*", type=Path, help="instead of the corpus")
    options = parser.parse_args()

    if options.folders:
        paths = [path for folder in options.folders for path in sorted(folder.rglob("*")) if path.is_file()]
        found = compare_all({str(path): path.read_bytes() for path in paths})
        for name, (word, distance) in sorted(found.items(), key=lambda each: (each[1][0], -each[1][1])):
            if word not in EXPECTED:
                print(f"{word} {distance:.1f} {name}")
        return
    files, missing = collect_corpus()
    differences = {name: word for name, (word, _) in compare_all(files).items() if word not in EXPECTED}
    if options.bless and not missing:
        verdicts.write_list(FILE, verdicts.keep_choices(verdicts.read_list(FILE), differences))
        return
    complaints = [f"missing: {each}" for each in missing]
    complaints += verdicts.describe_changes(verdicts.read_list(FILE), differences)
    print("\n".join(complaints) or "As recorded.")
    raise SystemExit(bool(complaints))


if __name__ == "__main__":
    main()
