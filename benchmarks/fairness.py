"""Measure what a tenant that sends ten times as much does to other tenants.

    python -m benchmarks.fairness [--tenants 4] [--rate 1] [--seconds 20] [--rounds 3]

Start the service with an empty data folder. All tenants upload photographs at random moments, at the same mean rate,
whether the service keeps up or not. In every other phase, the first tenant sends ten times as many. Print for the
other tenants how long an image took from the start of its upload to its end, and until the response to its upload.
Rates are off (RATE_UPLOADS_PER_MINUTE=0 and the like), unless the environment sets them: otherwise they refuse most.
"""

import argparse
import os
import random
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pg8000.native
import requests

from benchmarks.throughput import API, ROOT, make_photographs, serve
from shared_lib.addresses import read_database_url

TIMES = 10
PHOTOGRAPHS = 40
THREADS = 64
SETTLE_SECONDS = 120


@dataclass
class Phase:
    """Durations of other tenants' uploads, in seconds. Times of ends are by image."""

    responses: list[float] = field(default_factory=list)
    begun: dict[str, float] = field(default_factory=dict)
    refused: int = 0
    busy: int = 0


def create_tenant(environ: dict[str, str], name: str) -> str:
    """Return the key of its admin."""
    command = [sys.executable, "-m", "shared_lib.commands.tenants", "create", name]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environ, check=True, capture_output=True, text=True
    ).stdout.strip()


class Uploads:
    def __init__(self, photographs: list[bytes], keys: list[str]) -> None:
        self._photographs = photographs
        self._keys = keys
        self._local = threading.local()
        self._changing = threading.Lock()

    def run(self, rates: list[float], seconds: float) -> Phase:
        """Have each tenant upload at its mean rate per second. Wait for the responses."""
        phase = Phase()
        arrivals = sorted((at, tenant) for tenant, rate in enumerate(rates) for at in list_arrivals(rate, seconds))
        began = time.perf_counter()
        with ThreadPoolExecutor(THREADS) as pool:
            for at, tenant in arrivals:
                time.sleep(max(0, began + at - time.perf_counter()))
                pool.submit(self._upload, phase, tenant)
        return phase

    def _upload(self, phase: Phase, tenant: int) -> None:
        session = self._local.__dict__.setdefault("session", requests.Session())
        files = {"file": ("photograph.jpg", random.choice(self._photographs) + random.randbytes(8), "image/jpeg")}
        began, clock = time.time(), time.perf_counter()
        response = session.post(
            f"{API}/images/actions/upload", files=files, headers={"X-API-Key": self._keys[tenant]}, timeout=60
        )
        took = time.perf_counter() - clock
        with self._changing:
            if tenant == 0:
                phase.busy += response.ok
            elif response.ok:
                phase.responses.append(took)
                phase.begun[response.json()["data"]["uuid"]] = began
            phase.refused += not response.ok


def list_arrivals(rate: float, seconds: float) -> list[float]:
    moments, at = list[float](), random.expovariate(rate)
    while at < seconds:
        moments.append(at)
        at += random.expovariate(rate)
    return moments


def connect(url: str) -> pg8000.native.Connection:
    address = read_database_url(url)
    place = {"unix_sock": address.socket_path} if address.socket_path else {"host": address.host, "port": address.port}
    return pg8000.native.Connection(address.user, database=address.database, password=address.password, **place)


def wait_until_processed(database: pg8000.native.Connection) -> float:
    """Return how long that took."""
    began = time.monotonic()
    while database.run("SELECT 1 FROM images WHERE status IN ('pending', 'processing') LIMIT 1"):
        assert time.monotonic() < began + SETTLE_SECONDS, "images are not processed"
        time.sleep(0.1)
    return time.monotonic() - began


def find(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def report(name: str, phases: list[Phase], ends: dict[str, float]) -> float:
    """Print a line, and return the p99 of images."""
    images = [ends[uuid] - began for phase in phases for uuid, began in phase.begun.items()]
    responses = [each for phase in phases for each in phase.responses]
    print(
        f"  {name:<12} {len(images):5} images of the others  "
        f"p50 {find(images, 0.5) * 1000:5.0f} ms  p95 {find(images, 0.95) * 1000:5.0f} ms  "
        f"p99 {find(images, 0.99) * 1000:5.0f} ms   responses: p50 {find(responses, 0.5) * 1000:4.0f} ms  "
        f"p99 {find(responses, 0.99) * 1000:4.0f} ms   first tenant: {sum(each.busy for each in phases)} accepted, "
        f"all: {sum(each.refused for each in phases)} refused",
        flush=True,
    )
    return find(images, 0.99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenants", type=int, default=4)
    parser.add_argument(
        "--rate", type=float, default=1, help="uploads per second of each tenant (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=20, help="of a phase (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for name in ("UPLOADS", "REQUESTS", "DECODER_SECONDS"):
        for rate in (f"RATE_{name}_PER_MINUTE", f"RATE_TENANT_{name}_PER_MINUTE"):
            os.environ.setdefault(rate, "0")
    os.environ["AUTH_MODE"] = "required"
    photographs = make_photographs(PHOTOGRAPHS)
    with tempfile.TemporaryDirectory(prefix="fairness-") as folder, serve(Path(folder)):
        lines = (line.split("=", 1) for line in (Path(folder) / "environment").read_text().splitlines())
        environ = {name: shlex.split(value)[0] for name, value in lines}
        uploads = Uploads(photographs, [create_tenant(environ, f"tenant-{each}") for each in range(options.tenants)])
        database = connect(environ["DATABASE_URL"])
        usual = [options.rate] * options.tenants
        uploads.run(usual, 3)  # loads the codecs
        phases: dict[str, list[Phase]] = {"usual": [], "ten times": []}
        settled = 0.0
        for number in range(options.rounds * 2):
            name, factor = ("usual", 1) if number % 2 == 0 else ("ten times", TIMES)
            wait_until_processed(database)
            phases[name].append(uploads.run([options.rate * factor, *usual[1:]], options.seconds))
            settled = max(settled, wait_until_processed(database))
        rows = database.run("SELECT uuid::text, status, CAST(extract(epoch FROM completed_at) AS float8) FROM images")
        assert {status for _, status, _ in rows} == {"succeeded"}, "an image failed"
        ends = {uuid: ended for uuid, _, ended in rows}
        print(f"{options.tenants} tenants with {options.rate:g} uploads/s each, {options.rounds} rounds in turns")
        before, after = (report(name, each, ends) for name, each in phases.items())
        print(
            f"  p99 of the others: {after / before:.2f} times; the longest backlog was processed {settled:.1f} s later"
        )


if __name__ == "__main__":
    main()
