"""Measure what metrics and traces cost: processor time and throughput with and without them.

    python -m benchmarks.overhead [--rounds 10] [--images 24]

Run two services at once, one that exports to a receiver by OTLP and one that does not. Send a few images to each in
turns: to the first with no trace recorded, with one of ten, and with all. Whatever else the machine does then meets all
of them alike. The receiver is no part of what is measured. Only functions export, so the difference is between their
processor times, and told as a share of the whole service's. It is small, and so uncertain. So this also prints how many
counts and spans an image has, times the processor time of one. Counting cannot be turned off.
"""

import argparse
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil
import requests
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from benchmarks.audit import read_environment
from benchmarks.cost import parts_of, spent
from benchmarks.throughput import make_photographs, serve
from shared_lib.database.connection import Database
from shared_lib.metrics import Histogram, StoreRequest
from shared_lib.settings import Database as DatabaseSettings

CLIENTS = 4
CONSUMERS = "infra.local.consumers"
FUNCTIONS = ("API", "functions that take events")
PORTS = (5080, 5090)
SETTLE_SECONDS = 1.5  # for announcements, and for spans, which are sent within a second
FINISHED = "SELECT count(*) AS n FROM images WHERE status IN ('succeeded', 'failed')"
RECEIVER = """
import http.server
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

spans = 0

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        global spans
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            sent = ExportTraceServiceRequest.FromString(body)
            spans += sum(len(scope.spans) for each in sent.resource_spans for scope in each.scope_spans)
        self.answer(b"")
    def do_GET(self):
        self.answer(b"%d" % spans)
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *line):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""

# Prints the seconds of processor time of a span, recorded, encoded and sent.
SPANS = """
import sys, time
from shared_lib import otlp, tracing

otlp.export(sys.argv[1], 3600, share=1)
began = time.process_time()
for number in range(1000):
    with tracing.trace("POST /", "server", None, {"http.request.method": "POST", "http.route": "/"}) as note:
        for _ in range(9):
            with tracing.span("transaction", "client", {"db.system.name": "postgresql"}):
                pass
        note({"http.response.status_code": 200})
    if not number % 20:
        time.sleep(0.02)
time.sleep(2.5)
print((time.process_time() - began) / 10_000)
"""


@dataclass
class Side:
    name: str
    service: "Service"
    recorded: int
    """Of ten traces."""


@dataclass
class Service:
    port: int
    process: int
    database: Database

    def spend(self) -> dict[str, float]:
        return spent(parts_of(self.process))

    def count_finished(self) -> int:
        with self.database.transaction() as tx:
            return int(tx.rows(FINISHED)[0]["n"])


class Result(NamedTuple):
    seconds: float
    processor: float
    """Seconds of processor time."""
    functions: float
    """Of that, the functions'."""


@contextmanager
def receive() -> Iterator[str]:
    """Run a receiver that discards what it gets. Yield its address."""
    with subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{(process.stdout.readline() if process.stdout else '').strip()}"
        finally:
            process.terminate()


@contextmanager
def start(folder: Path, port: int, endpoint: str) -> Iterator[Service]:
    folder.mkdir()
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    with serve(folder, port) as process:
        database = Database(DatabaseSettings(url=SecretStr(read_environment(folder)["DATABASE_URL"])))
        yield Service(port, process.pid, database)
        database.disconnect()


def send(side: Side, photographs: list[bytes]) -> Result:
    """Have all of them processed."""
    service = side.service
    wanted = service.count_finished() + len(photographs)
    session = requests.Session()

    def upload(numbered: tuple[int, bytes]) -> None:
        number, photograph = numbered
        flags = "01" if number % 10 < side.recorded else "00"
        session.post(
            f"http://127.0.0.1:{service.port}/api/v1/images/actions/upload",
            files={"file": ("photograph.jpg", photograph + secrets.token_bytes(8), "image/jpeg")},
            headers={"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{flags}"},
            timeout=60,
        ).raise_for_status()

    before, began = service.spend(), time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(upload, enumerate(photographs)))
    while service.count_finished() < wanted:
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    time.sleep(SETTLE_SECONDS)
    parts = {name: after - before.get(name, 0) for name, after in service.spend().items()}
    return Result(seconds, sum(parts.values()), sum(parts[name] for name in FUNCTIONS))


def count_observations(service: Service) -> float:
    """Return what all functions have counted."""
    ports = [service.port, _find_consumers(service)]
    texts = [requests.get(f"http://127.0.0.1:{port}/_/metrics", timeout=10).text for port in ports]
    samples = [each for text in texts for family in text_string_to_metric_families(text) for each in family.samples]
    return sum(each.value for each in samples if each.name.endswith(("_seconds_count", "refusals_total")))


def _find_consumers(service: Service) -> int:
    """Return the port of the functions that take events."""
    [process] = (each for each in psutil.Process(service.process).children() if CONSUMERS in each.cmdline())
    return int(process.environ()["PORT"])


def time_observation() -> float:
    """Return the seconds of one count."""
    histogram = Histogram("store_request_duration_seconds", "", StoreRequest)
    repeat, number = 5, 20_000
    return (
        min(
            timeit.repeat(
                lambda: histogram.observe(0.01, StoreRequest("GET", "succeeded")), repeat=repeat, number=number
            )
        )
        / number
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--images", type=int, default=24)
    options = parser.parse_args()
    photographs = make_photographs(options.images)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="overhead-")))
        endpoint = stack.enter_context(receive())
        without = stack.enter_context(start(folder / "without", PORTS[0], ""))
        exporting = stack.enter_context(start(folder / "exporting", PORTS[1], endpoint))
        sides = [
            Side("nothing is exported", without, 0),
            Side("metrics, no trace recorded", exporting, 0),
            Side("metrics, one trace of ten", exporting, 1),
            Side("metrics, all traces", exporting, 10),
        ]
        measured: dict[str, list[Result]] = {side.name: [] for side in sides}
        for side in sides:
            send(side, photographs)  # codecs are loaded, and code is warm
        counted = count_observations(without)
        for number in range(options.rounds):
            for side in sides[number % 4 :] + sides[: number % 4]:
                measured[side.name].append(send(side, photographs))
        counts = (count_observations(without) - counted) / options.rounds / options.images
        received = int(requests.get(endpoint, timeout=10).text)
        send(sides[-1], photographs)
        spans = (int(requests.get(endpoint, timeout=10).text) - received) / options.images
        timed = subprocess.run(
            [sys.executable, "-c", SPANS, endpoint], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
    base = measured[sides[0].name]
    whole = statistics.median(each.processor for each in base)
    print("| | images/s | processor ms of an image | of functions | more, of the whole |\n|---|---|---|---|---|")
    for name, results in measured.items():
        speed = options.images / statistics.median(each.seconds for each in results)
        all_ms, own_ms = (
            statistics.median(column) / options.images * 1000
            for column in zip(*((each.processor, each.functions) for each in results), strict=True)
        )
        more = statistics.median(own.functions - its.functions for own, its in zip(results, base, strict=True)) / whole
        print(f"| {name} | {speed:.1f} | {all_ms:.1f} | {own_ms:.1f} | {more:+.1%} |")
    image = whole / options.images
    for name, count, one in (("counts", counts, time_observation()), ("spans", spans, float(timed))):
        share = count * one / image
        print(f"An image has {count:.0f} {name}, {one * 1e6:.1f} µs each: {share:.2%} of its processor time.")


if __name__ == "__main__":
    main()
