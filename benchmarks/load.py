"""Send requests to the service at given rates, whether it keeps up or not, and report what becomes of them.

    python -m benchmarks.load [--seconds 30] [--rate 15] [--overload 120] [--only-overload] …

This is an open model: requests arrive at random moments, at a mean rate, and don't wait for earlier responses. Start
the service with an empty data folder, measure how many uploads it accepts a second, and run the scenarios: uploads by
form, uploads by presigned URL, both with reads, and three times as many uploads as the service can accept. Wait until
everything is processed, and check that no accepted upload is lost. Print tables, and write a page with graphs.
"""

# Locust comes first, because it replaces blocking functions of the standard library.
from locust import FastHttpUser
from locust.env import Environment

# isort: split
import argparse
import io
import random
import secrets
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import pg8000.native
from gevent.pool import Group
from PIL import Image
from urllib3 import encode_multipart_formdata

from benchmarks import load_report
from benchmarks.load_report import Backlog, Phase, Request, Scenario
from benchmarks.throughput import ROOT, make_photographs, serve
from shared_lib.addresses import read_database_url

PORT = 5081
SIZE = (800, 600)  # px: small, so that a backlog of thousands is processed in minutes
PHOTOGRAPHS = 40
CLOSED_CLIENTS = 24  # that measure the capacity: more than the function has threads
MAX_RATE = 600.0  # requests/s, however fast the service is
MAX_IN_FLIGHT = 4000
READS = {"list": 4.0, "get": 4.0, "rendition": 4.0, "health": 1.0}  # requests/s


class Client(FastHttpUser):
    """Locust's users wait for their responses. So there is only one, whose client each arrival uses at once."""

    host = f"http://127.0.0.1:{PORT}"
    concurrency = MAX_IN_FLIGHT
    network_timeout = 60.0
    abstract = True


@dataclass
class Generator:
    """Starts requests, and records what becomes of them."""

    photographs: list[bytes]
    database: Callable[[str], list[Any]]
    accepted: list[str] = field(default_factory=list)
    ready: list[str] = field(default_factory=list)
    """Images that are processed, for the reads."""

    def __post_init__(self) -> None:
        environment = Environment(user_classes=[])
        environment.events.request.add_listener(self._record)
        self._client = Client(environment).client
        self._requests: list[Request] = []
        self._in_flight = Group()
        self._began = time.time()
        self._actions: Mapping[str, Callable[[], None]] = {
            "upload": self.upload,
            "presigned": self.upload_presigned,
            "list": lambda: self._get("list", "/api/v1/images?limit=20"),
            "get": lambda: self._get("get", f"/api/v1/images/{random.choice(self.ready)}"),
            "rendition": lambda: self._get(
                "rendition", f"/api/v1/images/{random.choice(self.ready)}/renditions/thumbnail"
            ),
            "health": lambda: self._get("health", "/api/health/live"),
        }

    def run(self, name: str, phases: list[Phase]) -> Scenario:
        """Run the phases one after the other, and wait for the responses."""
        print(f"{name}: " + ", then ".join(map(load_report.describe, phases)), flush=True)
        self._requests.clear()
        self._began, backlog = time.time(), list[Backlog]()
        watcher = gevent.spawn(self._watch_backlog, backlog, self._began)
        for phase in phases:
            gevent.joinall([gevent.spawn(self._arrive, *each, phase.seconds) for each in phase.rates.items()])
        self._in_flight.join()
        watcher.kill()
        found, self._requests = self._requests, []
        return Scenario(name, phases, found, backlog)

    def measure_capacity(self, seconds: float) -> float:
        """Return the uploads per second that are accepted from clients that always wait for the response."""
        until = time.time() + seconds
        before, waiting = len(self.accepted), self.count_waiting()

        def repeat() -> None:
            while time.time() < until:
                self.upload()

        gevent.joinall([gevent.spawn(repeat) for _ in range(CLOSED_CLIENTS)])
        accepted = len(self.accepted) - before
        done = accepted - (self.count_waiting() - waiting)
        print(
            f"capacity: {accepted / seconds:.1f} uploads/s, while {done / seconds:.1f} images/s are processed",
            flush=True,
        )
        return accepted / seconds

    def upload(self) -> None:
        files = {"file": ("photograph.jpg", self._make_photograph(), "image/jpeg")}
        body, content_type = encode_multipart_formdata(files)
        response = self._client.post(
            "/api/v1/images/actions/upload", name="upload", data=body, headers={"Content-Type": content_type}
        )
        if response.status_code == 200:
            self.accepted.append(response.json()["data"]["uuid"])

    def upload_presigned(self) -> None:
        response = self._client.get("/api/v1/images/actions/upload-url?extension=jpg", name="upload URL")
        if response.status_code == 200:
            ticket = response.json()
            put = self._client.put(ticket["presignedUrl"], name="PUT to the store", data=self._make_photograph())
            if put.status_code == 200:
                self.accepted.append(ticket["uuid"])

    def count_waiting(self) -> int:
        [[count]] = self.database("SELECT count(*) FROM images WHERE status IN ('pending', 'processing')")
        return int(count)

    def wait_until_processed(self, seconds: float) -> float:
        """Return the seconds that this took, or the limit."""
        began = time.time()
        while self.count_waiting() and time.time() - began < seconds:
            gevent.sleep(0.5)
        return time.time() - began

    def _make_photograph(self) -> bytes:
        """Return a file of its own: the service stores files with the same bytes once."""
        return random.choice(self.photographs) + secrets.token_bytes(16)

    def _get(self, name: str, path: str) -> None:
        self._client.get(path, name=name)

    def _arrive(self, action: str, rate: float, seconds: float) -> None:
        began, at = time.time(), 0.0
        while (at := at + random.expovariate(rate)) < seconds:
            gevent.sleep(max(0.0, began + at - time.time()))
            if len(self._in_flight) > MAX_IN_FLIGHT:
                raise SystemExit(f"More than {MAX_IN_FLIGHT} requests are in flight: choose a lower rate")
            self._in_flight.spawn(self._actions[action])

    def _record(self, name: str, response_time: float, start_time: float, response: Any, **_more: object) -> None:  # noqa: ANN401
        self._requests.append(Request(start_time - self._began, name, response.status_code or 0, response_time / 1000))

    def _watch_backlog(self, backlog: list[Backlog], began: float) -> None:
        while True:
            [[waiting, ended]] = self.database(
                "SELECT count(*) FILTER (WHERE status IN ('pending', 'processing')),"
                " count(*) FILTER (WHERE status IN ('succeeded', 'failed')) FROM images"
            )
            backlog.append(Backlog(time.time() - began, waiting, ended))
            gevent.sleep(1)


def connect(data: Path) -> Callable[[str], list[Any]]:
    """Return a function that runs a statement on the service's database."""
    lines = (line.split("=", 1) for line in (data / "environment").read_text().splitlines())
    environ = {name: shlex.split(value)[0] for name, value in lines}
    address = read_database_url(environ["DATABASE_URL"])
    connection = pg8000.native.Connection(
        address.user,
        database=address.database,
        **({"unix_sock": address.socket_path} if address.socket_path else {"host": address.host, "port": address.port}),
    )
    return lambda sql: connection.run(sql) or []


def run_scenarios(generator: Generator, options: argparse.Namespace) -> tuple[list[Scenario], float]:
    """Return what became of all requests, and the capacity in uploads per second."""
    seconds, rate, drain = options.seconds, options.rate, options.drain
    scenarios = []
    for name, rates in (
        ("direct", {"upload": rate}),
        ("presigned", {"presigned": rate}),
        ("mixed", {"upload": rate / 2, "presigned": rate / 2, **READS}),
    ):
        if options.only_overload:
            continue
        scenarios.append(generator.run(name, [Phase(seconds, rates)]))
        generator.wait_until_processed(drain)
    capacity = generator.measure_capacity(seconds / 2)
    generator.wait_until_processed(drain)
    half, thrice = {"upload": capacity / 2, **READS}, {"upload": min(3 * capacity, MAX_RATE), **READS}
    phases = [Phase(seconds / 2, half), Phase(options.overload, thrice), Phase(seconds * 1.5, half)]
    scenarios.append(generator.run("overload", phases))
    return scenarios, capacity


def count_lost(generator: Generator) -> tuple[int, int]:
    """Return how many accepted uploads neither succeeded nor still wait, and how many still wait."""
    states = {f"{uuid}": status for uuid, status in generator.database("SELECT uuid, status FROM images")}
    ends = Counter(states.get(uuid, "missing") for uuid in generator.accepted)
    waiting = ends["pending"] + ends["processing"]
    return ends.total() - waiting - ends["succeeded"], waiting


def resize(photograph: bytes) -> bytes:
    with Image.open(io.BytesIO(photograph)) as picture, io.BytesIO() as file:
        picture.resize(SIZE).save(file, "JPEG", quality=85)
        return file.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30, help="of each scenario but the last")
    parser.add_argument("--rate", type=float, default=15, help="uploads per second, in all scenarios but the last")
    parser.add_argument("--overload", type=float, default=120, help="seconds of overload")
    parser.add_argument("--only-overload", action="store_true", help="leave the other scenarios out")
    parser.add_argument("--drain", type=float, default=900, help="the longest to wait for the backlog, in seconds")
    parser.add_argument("--report", type=Path, default=ROOT / "build" / "load.html")
    options = parser.parse_args()
    random.seed(7)
    photographs = [resize(photograph) for photograph in make_photographs(PHOTOGRAPHS)]
    with tempfile.TemporaryDirectory(prefix="load-") as folder, serve(Path(folder), PORT):
        generator = Generator(photographs, connect(Path(folder)))
        for _ in range(20):
            generator.upload()
        generator.wait_until_processed(60)
        generator.ready += generator.accepted
        scenarios, capacity = run_scenarios(generator, options)
        drained = generator.wait_until_processed(options.drain)
        lost, waiting = count_lost(generator)
    size = sum(map(len, photographs)) / len(photographs) / 1000
    about = (
        f"Photographs of {SIZE[0]}x{SIZE[1]} px, {size:.0f} kB on average. The service accepts {capacity:.1f} "
        f"uploads/s from {CLOSED_CLIENTS} clients that wait for each response. {len(generator.accepted)} uploads were "
        f"accepted, and {lost} of them lost. {drained:.0f} s after the end, {waiting} still waited to be processed."
    )
    tables = load_report.make_tables(scenarios, capacity)
    print(f"\n{about}\n\n" + "\n\n".join(f"{title}\n\n{table.markdown}" for title, table in tables.items()))
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(load_report.render(about, tables, scenarios))
    print(f"\nGraphs: {options.report}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
