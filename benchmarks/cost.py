"""Measure the processor time of an image in each part of the service. The sizing in docs/deploy.md is based on it.

    python -m benchmarks.cost [--images 100]

Start the service with an empty data folder, upload photographs of two sizes, wait until all are processed, and compare
each part's processor time before and after. If S3_ENDPOINT_URL and KAFKA_BOOTSTRAP_SERVERS are set, as `make minio` and
`make kafka` print them, those servers are measured.
"""

import argparse
import io
import os
import tempfile
import time
from collections import defaultdict
from operator import itemgetter
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from PIL import Image

from benchmarks.throughput import count_finished, make_photographs, serve, upload

SIZES = {(1200, 900): 88, (4000, 3000): 92}  # px, and JPEG quality: for a web page, and from a camera
CLIENTS = 4
NAMES = {
    "infra.local.gateway": "API",
    "infra.local.consumers": "functions that take events",
    "infra.local.eventing": "event source (Knative's dispatcher)",
    "postgres": "PostgreSQL",
    "weed": "S3 (SeaweedFS)",
    "tansu": "Kafka (Tansu)",
}


def parts_of(service: int) -> dict[int, str]:
    """Return the part of the service that each process belongs to."""
    parts = {pid: name for pid, name in map(_external, ("S3_ENDPOINT_URL", "KAFKA_BOOTSTRAP_SERVERS")) if pid}
    for process in psutil.Process(service).children(recursive=True):
        try:
            command, function = " ".join(process.cmdline()), process.environ().get("K_SERVICE")
            family = [process, *process.children(recursive=True)]
        except psutil.Error:
            continue  # ended meanwhile
        # Earlier commits run each function that takes events in a process of its own, with this variable.
        part = next((name for known, name in NAMES.items() if known in command), function)
        # Sandbox workers count as part of their parent.
        parts |= {each.pid: part for each in family if part}
    return parts


def _external(variable: str) -> tuple[int, str]:
    """Return the process at the address in a variable, or 0 if that is not set."""
    if not (address := os.environ.get(variable)):
        return 0, ""
    port = urlsplit(address if "//" in address else f"//{address}").port
    [listener] = {
        each.pid
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid
    }
    return listener, "S3" if variable.startswith("S3") else "Kafka"


def spent(parts: dict[int, str]) -> dict[str, float]:
    """Return seconds of processor time, by part."""
    seconds: dict[str, float] = defaultdict(float)
    for pid, name in parts.items():
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.Error:
            continue
        # A worker ends after one image. Its time is then in its parent's.
        seconds[name] += times.user + times.system + times.children_user + times.children_system
    return seconds


def resize(photograph: bytes, size: tuple[int, int]) -> bytes:
    """Resize a photograph and add a sensor's noise, which makes up most of a large file."""
    with Image.open(io.BytesIO(photograph)) as picture, io.BytesIO() as file:
        noise = Image.effect_noise(size, 64).convert("RGB")
        Image.blend(picture.resize(size), noise, 0.08).save(file, "JPEG", quality=SIZES[size])
        return file.getvalue()


def measure(service: int, photographs: list[bytes]) -> tuple[dict[str, float], float]:
    """Return seconds of processor time by part, and of wall-clock time until the last image is processed."""
    before, ended, began = spent(parts_of(service)), count_finished(), time.perf_counter()
    upload(photographs, CLIENTS)
    while count_finished() < ended + len(photographs):
        time.sleep(0.1)
    clock = time.perf_counter() - began
    after = spent(parts_of(service))
    return {part: seconds - before.get(part, 0) for part, seconds in after.items()}, clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    count = parser.parse_args().images
    photographs = make_photographs(count)
    with tempfile.TemporaryDirectory(prefix="cost-") as folder, serve(Path(folder)) as service:
        for size in SIZES:
            resized = [resize(photograph, size) for photograph in photographs]
            measure(service.pid, resized[:4])  # so that codecs are loaded
            seconds, clock = measure(service.pid, resized)
            kilobytes = sum(map(len, resized)) / count / 1000
            print(f"{count} photographs of {size[0]}x{size[1]} px, {kilobytes:.0f} kB on average")
            print(f"  {count / clock:6.1f} images/s end to end, on {os.cpu_count()} cores with everything on them")
            for part, each in sorted(seconds.items(), key=itemgetter(1), reverse=True):
                print(f"  {each / count * 1000:6.1f} ms  {part}")


if __name__ == "__main__":
    main()
