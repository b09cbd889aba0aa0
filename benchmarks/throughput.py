"""Measure uploads and processed images per second, and audit every image at the end.

    python -m benchmarks.throughput [--images 500] [--clients 8]

Start the service with an empty data folder, upload distinct photographs, wait until all are processed, and audit the
rows, the objects and the announcements. Then restart the service and audit again. `make chaos` does the same while the
service's processes are killed.
"""

import argparse
import hashlib
import io
import itertools
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from PIL import Image

from benchmarks.audit import Answer, Audit, Upload

ROOT = Path(__file__).parent.parent
PHOTOGRAPHS = sorted((ROOT / "tests" / "golden" / "photographs").glob("*.jpg"))
PORT = 5080
API = f"http://127.0.0.1:{PORT}/api/v1"
SIZE = (1600, 1200)  # px, about the size that phones send to chats
TIMEOUT_SECONDS = 300
SETTLE_SECONDS = 60  # for the first image and the last announcements


def make_photographs(count: int) -> list[bytes]:
    """Make distinct JPEGs of 1600 x 1200 px: the photographs, cropped and enlarged at random (seeded)."""
    generator = random.Random(7)
    sources = [Image.open(path).convert("RGB") for path in PHOTOGRAPHS]
    made = []
    for number in range(count):
        source = sources[number % len(sources)]
        share = generator.uniform(0.5, 1)
        width, height = int(source.width * share), int(source.height * share)
        left, top = generator.randint(0, source.width - width), generator.randint(0, source.height - height)
        with io.BytesIO() as file:
            source.crop((left, top, left + width, top + height)).resize(SIZE).save(file, "JPEG", quality=88)
            made.append(file.getvalue())
    return made


@contextmanager
def serve(data: Path, port: int = PORT) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service during the block."""
    environ = os.environ | {"PORT": str(port), "DATA_DIR": str(data), "LOG_LEVEL": "warning"}
    with (data / "run.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "infra.local"], cwd=ROOT, env=environ, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while b"Ready after" not in (data / "run.log").read_bytes() or not is_live(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((data / "run.log").read_text())
            time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def is_live(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/api/health", timeout=2).ok
    except requests.RequestException:
        return False


def upload(photographs: list[bytes], clients: int) -> tuple[dict[str, float], float]:
    """Upload all photographs. Return each one's seconds by UUID, and the total seconds."""
    local = threading.local()

    def send(photograph: bytes) -> tuple[str, float]:
        session = local.__dict__.setdefault("session", requests.Session())
        began = time.perf_counter()
        files = {"file": ("photograph.jpg", photograph, "image/jpeg")}
        response = session.post(f"{API}/images/actions/upload", files=files, timeout=60)
        response.raise_for_status()
        return response.json()["data"]["uuid"], time.perf_counter() - began

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        taken = dict(pool.map(send, photographs))
    return taken, time.perf_counter() - began


def count_finished() -> int:
    response = requests.get(f"{API}/images?status=succeeded,failed&limit=1&include=none", timeout=10)
    return int(response.headers["X-Total-Count"])


def list_all() -> list[dict[str, Any]]:
    images: list[dict[str, Any]] = []
    for number in itertools.count(1):
        page = requests.get(f"{API}/images?status=all&limit=100&page={number}", timeout=30).json()
        if not page:
            break
        images += page
    return images


def warm_up(photograph: bytes) -> Upload:
    """Upload an image, so that codecs are loaded, and delete it. Return what a client knows of it."""
    [uuid] = upload([photograph], 1)[0]
    deadline = time.monotonic() + SETTLE_SECONDS
    while not count_finished() and time.monotonic() < deadline:
        time.sleep(0.1)
    requests.delete(f"{API}/images/{uuid}", timeout=30).raise_for_status()
    sha256 = hashlib.sha256(photograph).hexdigest()
    return Upload("photograph.jpg", sha256, Answer.ACCEPTED, uuid, deletion=Answer.ACCEPTED)


def check(audit: Audit, history: list[Upload]) -> list[dict[str, Any]]:
    """Raise AssertionError unless every image is complete after a single attempt. Return all images."""
    images = list_all()
    attempts = Counter(image["attempts"] for image in images)
    print(f"  attempts: {dict(sorted(attempts.items()))}")
    deadline = time.monotonic() + SETTLE_SECONDS
    while audit.find_unsettled(history) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not (faults := audit.judge(history).faults), "\n".join(faults)
    assert attempts.keys() == {1}
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    photographs = make_photographs(options.images)
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        data = Path(folder)
        audit = Audit(data)
        with serve(data):
            warm = warm_up(photographs[0])
            began = time.perf_counter()
            taken, seconds = upload(photographs, options.clients)
            while count_finished() < options.images and time.perf_counter() - began < TIMEOUT_SECONDS:
                time.sleep(0.1)
            finished = time.perf_counter() - began
            history = [
                Upload("photograph.jpg", hashlib.sha256(photograph).hexdigest(), Answer.ACCEPTED, uuid)
                for photograph, uuid in zip(photographs, taken, strict=True)
            ]
            images = check(audit, [warm, *history])
        times = sorted(taken.values())
        size = sum(map(len, photographs)) / len(photographs) / 1000
        print(
            f"  {options.images} photographs of {SIZE[0]}x{SIZE[1]} px, {size:.0f} kB on average\n"
            f"  {options.clients} clients\n"
            f"  uploads:    {options.images / seconds:.1f}/s, p50 {statistics.median(times) * 1000:.0f} ms, "
            f"p99 {times[int(len(times) * 0.99)] * 1000:.0f} ms\n"
            f"  end to end: {options.images / finished:.1f} images/s, "
            f"the last one {finished - seconds:.1f} s after the last upload"
        )
        with serve(data):
            assert check(audit, [warm, *history]) == images, "the images differ after the restart"
        print("  the images are the same after the restart")


if __name__ == "__main__":
    main()
