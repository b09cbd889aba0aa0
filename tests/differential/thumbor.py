"""Compare our answers to thumbor's URLs with thumbor's own.

    make compare-thumbor

Each URL is requested from both. Status, width, height and format must be equal, and the pixels nearly so (SSIM). What
may differ is listed with its reason, which `docs/dialects.md` has as a line of its own. Fails if anything else differs,
if a reason is not there, and if one explains nothing any more.
"""

import io
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyvips
import requests
from PIL import Image
from service import ROOT, Api, find_free_port, serve_function, start_platform, wait_for

from benchmarks.pipeline.similarity import ssim
from differential.urls import list_foreign_urls, list_urls, make_foreign_files, make_images

THUMBOR = ROOT / ".cache/thumbor/bin/thumbor"
DOCUMENTED = ROOT / "docs/dialects.md"
LEAST_SSIM = 0.95
CONFIGURATION = """
STORAGE = "thumbor.storages.no_storage"
RESPECT_ORIENTATION = True
SECURITY_KEY = "a-key-of-16-chars-or-more"
"""
FROM_FILES = """
LOADER = "thumbor.loaders.file_loader"
FILE_LOADER_ROOT_PATH = {root!r}
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


STATUS = frozenset({"status"})
DEPARTURES = (
    Departure(r"/smart/", "`smart` chooses by attention, and thumbor has no detector by default"),
    Departure(r"noise\(", "`noise` is random, and thumbor's is uniform"),
    Departure(r"sharpen\(", "`sharpen` is an unsharp mask", 0.8),
    Departure(r"repeat", "`repeat` leaves no space between tiles", 0.5),
    Departure(r"fill\(blur", "thumbor cuts off the blur at 50 px", 0.9),
    Departure(r"300x300", "libvips enlarges by bicubic interpolation, and thumbor by Lanczos 3", 0.9),
    Departure(
        r"fit-in/(90x0|40x40|333x333)|320x/", "thumbor decodes fewer pixels of a JPEG that becomes much smaller", 0.9
    ),
    Departure(r"format\(jpeg\)", "thumbor leaves alpha out of a JPEG, and shows the colors of what was transparent"),
    Departure(
        r"cut\.jpg", "a truncated image is refused with 400, and thumbor shows the part that is there", None, STATUS
    ),
    Departure(r"trim", "what is cut of a trimmed image may lie a pixel beside", 0.9),
    Departure(r"extract_focal\(", "thumbor 7.8 finds no crop for `extract_focal`: it encodes the colon", None, STATUS),
)


def check_documented() -> list[str]:
    """Return the reasons that are no line of the documentation."""
    lines = {line.removeprefix("* ").rstrip(".") for line in DOCUMENTED.read_text().splitlines()}
    return [each.reason for each in DEPARTURES if each.reason not in lines]


@contextmanager
def run_thumbor(folder: Path, configuration: str) -> Iterator[str]:
    """Run thumbor, and yield the beginning of its unsigned URLs."""
    port = find_free_port()
    file = folder / f"thumbor-{port}.conf"
    file.write_text(CONFIGURATION + configuration)
    process = subprocess.Popen([THUMBOR, "--ip=127.0.0.1", f"--port={port}", f"--conf={file}"])
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        try:
            return requests.get(f"{url}/healthcheck", timeout=10).text == "WORKING"
        except requests.ConnectionError:
            return False

    try:
        wait_for(is_ready, bool, 30)
        yield f"{url}/unsafe"
    finally:
        process.terminate()
        process.wait(30)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_line: object) -> None:
        """Log nothing."""


@contextmanager
def serve_files(folder: Path, port: int) -> Iterator[None]:
    """Serve foreign files over HTTP."""
    for name, data in make_foreign_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


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
    pixels = (pyvips.Image.new_from_buffer(each.content, "").colourspace("srgb") for each in (theirs, ours))
    similarity = ssim(*(each.flatten() if each.hasalpha() else each for each in pixels))
    return found | {"pixels": f"{similarity:.3f}"}


class Comparison:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.used: set[Departure] = set()

    def run(self, theirs: str, ours: str, urls: Iterable[str]) -> None:
        with requests.Session() as session:
            for url in urls:
                answers = [session.get(f"{base}/{url}", timeout=60) for base in (theirs, ours)]
                verdict, described = self._judge(url, compare(*answers))
                self.counts[verdict] += 1
                if verdict != "equal":
                    print(f"{verdict:9}  {url}  {described}", flush=True)

    def _judge(self, url: str, found: dict[str, str]) -> tuple[str, str]:
        """Return `equal`, `explained` or `wrong`, and what differs."""
        similarity = float(found.pop("pixels", "1"))
        if not found and similarity >= LEAST_SSIM:
            return "equal", ""
        described = ", ".join([*(f"{name}: {how}" for name, how in found.items()), f"SSIM {similarity:.3f}"])
        for each in DEPARTURES:
            is_near = similarity >= (each.least_ssim or -1)
            if re.search(each.pattern, url) and found.keys() <= each.may_differ and is_near:
                self.used.add(each)
                return "explained", f"{described} ({each.reason})"
        return "wrong", described


def upload(api: Api, folder: Path) -> dict[str, str]:
    """Give both the same images, under their uuids. Return these by the images' names."""
    images = {}
    for kind, data in make_images().items():
        images[kind] = uuid = api.upload(data)
        api.await_end(uuid)
        (folder / uuid).write_bytes(data)
    return images


def main() -> int:
    if undocumented := check_documented():
        print(f"Not in {DOCUMENTED.name}: {'; '.join(undocumented)}")
        return 1
    comparison, port = Comparison(), find_free_port()
    host = f"127.0.0.1:{port}"
    fetching = {"FOREIGN_SOURCES": f"http://{host}/", "FOREIGN_NETWORKS": "127.0.0.0/8"}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        platform = start_platform(folder / "platform", DELIVERY_NEW_PER_HOUR="100000")
        stack.callback(platform.stop)
        (folder / "images").mkdir()
        images = upload(Api(f"{platform.url}/api/v1", requests.Session()), folder / "images")
        started = time.monotonic()
        with run_thumbor(folder, FROM_FILES.format(root=str(folder / "images"))) as thumbor:
            comparison.run(thumbor, f"{platform.url}/thumbor/unsafe", list_urls(images))
        stack.enter_context(serve_files(folder / "foreign", port))
        ours = stack.enter_context(serve_function(platform, "deliver_thumbor", **fetching))
        with run_thumbor(folder, "") as thumbor:
            comparison.run(thumbor, f"http://127.0.0.1:{ours}/thumbor/unsafe", list_foreign_urls(host))
        seconds = time.monotonic() - started
    counts, idle = comparison.counts, [each.reason for each in DEPARTURES if each not in comparison.used]
    print(
        f"{counts.total()} URLs in {seconds:.0f} s: " + ", ".join(f"{count} {each}" for each, count in counts.items())
    )
    if idle:
        print(f"Explains nothing: {'; '.join(idle)}")
    return 1 if counts["wrong"] or idle else 0


if __name__ == "__main__":
    sys.exit(main())
