"""Measure uploads and processed images per second, and audit every image at the end.

    python -m benchmarks.throughput [--images 500] [--clients 8] [--kill]

Start the service with an empty data folder, upload distinct photographs, wait until all are processed, and check the
database, both buckets and every rendition. Then restart the service and check again. `--kill` sends SIGKILL to the
processes of process_image three times meanwhile.
"""

import argparse
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

import boto3
import psutil
import requests
from PIL import Image

ROOT = Path(__file__).parent.parent
PHOTOGRAPHS = sorted((ROOT / "tests" / "golden" / "photographs").glob("*.jpg"))
PORT = 5080
API = f"http://127.0.0.1:{PORT}/api/v1"
SIZE = (1600, 1200)  # px, about the size that phones send to chats
TIMEOUT_SECONDS = 300


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
def serve(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service during the block."""
    environ = os.environ | {"PORT": str(PORT), "DATA_DIR": str(data), "LOG_LEVEL": "warning"}
    with (data / "run.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "infra.local"], cwd=ROOT, env=environ, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while b"Ready after" not in (data / "run.log").read_bytes() or not is_live():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((data / "run.log").read_text())
            time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def is_live() -> bool:
    try:
        return requests.get(f"{API[:-3]}/health", timeout=2).ok
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


def kill_processors(supervisor: psutil.Process) -> int:
    """Send SIGKILL to all processes of process_image, and return their number."""
    victims = []
    for process in supervisor.children(recursive=True):
        try:
            if process.environ().get("K_SERVICE") == "process-image":
                victims += [process, *process.children(recursive=True)]
        except psutil.Error:
            continue
    for victim in set(victims):
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue
    return len(set(victims))


def audit(data: Path, uuids: set[str], *, killed: bool) -> list[dict[str, Any]]:
    """Raise AssertionError unless every image is complete."""
    environ = dict(line.split("=", 1) for line in (data / "environment").read_text().splitlines())
    client = boto3.client(
        "s3",
        endpoint_url=environ["S3_ENDPOINT_URL"].strip("'"),
        aws_access_key_id=environ["S3_ACCESS_KEY_ID"].strip("'"),
        aws_secret_access_key=environ["S3_SECRET_ACCESS_KEY"].strip("'"),
        region_name="us-east-1",
    )
    images = list_all()
    assert {image["uuid"] for image in images} == uuids, "an image is missing or duplicated"
    states = Counter(image["status"] for image in images)
    assert states == {"succeeded": len(uuids)}, states
    attempts = Counter(image["attempts"] for image in images)
    assert killed or attempts == {1: len(uuids)}, attempts
    print(f"  attempts: {dict(sorted(attempts.items()))}")
    keys = {
        each["Key"]: each["Size"]
        for page in client.get_paginator("list_objects_v2").paginate(Bucket="completed-images")
        for each in page.get("Contents", ())
    }
    assert len(keys) == 2 * len(uuids), f"{len(keys)} objects for {len(uuids)} images"
    for key in keys:
        with Image.open(io.BytesIO(client.get_object(Bucket="completed-images", Key=key)["Body"].read())) as picture:
            picture.load()
            assert picture.size == (SIZE if "original" in key else (100, 100))
    assert client.list_objects_v2(Bucket="upload-images")["KeyCount"] == 0, "the inbox is not empty"
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--kill", action="store_true")
    options = parser.parse_args()
    photographs = make_photographs(options.images)
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        data = Path(folder)
        with serve(data) as service:
            upload(photographs[:1], 1)
            requests.delete(f"{API}/images/{list_all()[0]['uuid']}", timeout=30)
            killer = threading.Thread(target=kill_repeatedly, args=(service.pid, options.images))
            began = time.perf_counter()
            if options.kill:
                killer.start()
            taken, seconds = upload(photographs, options.clients)
            while count_finished() < options.images and time.perf_counter() - began < TIMEOUT_SECONDS:
                time.sleep(0.1)
            finished = time.perf_counter() - began
            if options.kill:
                killer.join()
            images = audit(data, set(taken), killed=options.kill)
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
            assert audit(data, set(taken), killed=options.kill) == images, "the images differ after the restart"
        print("  the images are the same after the restart")


def kill_repeatedly(pid: int, images: int) -> None:
    for share in (0.2, 0.5, 0.8):
        while count_finished() < images * share:
            time.sleep(0.05)
        print(f"  killed {kill_processors(psutil.Process(pid))} processes of process_image at {share:.0%}")


if __name__ == "__main__":
    main()
