"""Measure the cold start of each function, from the start of its process to its first response, and its memory then.

    python -m benchmarks.cold_start [--runs 5] [--python .venv/bin/python] [FUNCTION ...]

Start the service for its database, store and broker. Then start each function like its container does, and repeat a
request until it responds: of a page or of an unknown image, or an event about one. Python's bytecode is compiled
beforehand, as in the image. The floor is a function that only says hello, behind functions-framework's own server. All
are started in turns, so that they meet the same noise. At last, start a processor for a new image.

`--python` is of an environment with `requirements.txt` and this project only, as in the image. Some libraries load more
if they find it.
"""

import argparse
import compileall
import os
import re
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import requests

from benchmarks.throughput import API, ROOT, make_photographs, serve, upload
from infra.functions import Function, list_functions
from shared_lib.events import ProcessingRequested

UNKNOWN = "00000000-0000-4000-8000-000000000000"
EVENT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/benchmark", "ce-type": ProcessingRequested.type}
HELLO = """
import functions_framework

@functions_framework.http
def main(request):
    return "hello"
"""
QUERIES = {"create_upload_url": "?extension=jpg"}
EVENTS_PATH = "/"


class Start(NamedTuple):
    seconds: float
    """To the first response."""
    processor: float
    """Seconds of processor time."""
    memory: float
    """PSS, MiB."""
    status: int


def request_for(function: Function) -> tuple[str, str]:
    """Return a method and path: of the function's first path, or for events."""
    if function.endpoint is None:
        return "POST", EVENTS_PATH
    path = re.sub(r"{\w+}", UNKNOWN, function.endpoint.route.paths[0])
    return function.endpoint.route.method, path + QUERIES.get(function.folder, "")


@contextmanager
def start(python: str, module: str, source: Path, environ: dict[str, str]) -> Iterator[tuple[psutil.Popen, str]]:
    """Start a function. Yield its process and address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serving = {"HOST": "127.0.0.1", "PORT": f"{port}", "FUNCTION_TARGET": "main", "FUNCTION_SOURCE": f"{source}"}
    process = psutil.Popen([python, "-m", module], cwd=ROOT, env=environ | serving, stderr=subprocess.DEVNULL)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def repeat(send: Callable[[], requests.Response]) -> requests.Response:
    """Send a request until it is answered."""
    while True:
        try:
            return send()
        except requests.ConnectionError:
            time.sleep(0.005)


def measure(function: Function | None, environ: dict[str, str], hello: Path, python: str) -> Start:
    """Start a function, or the floor, for None."""
    method, path = request_for(function) if function else ("GET", "/")
    source = ROOT / "functions" / function.folder / "main.py" if function else hello
    event: dict[str, Any] = {"headers": EVENT, "json": {"uuid": UNKNOWN}} if path == EVENTS_PATH and function else {}
    began = time.perf_counter()
    with start(python, "shared_lib.server" if function else "functions_framework", source, environ) as (process, url):
        response = repeat(partial(requests.request, method, url + path, timeout=30, **event))
        seconds = time.perf_counter() - began
        family = (process, *process.children(recursive=True))
        times = [each.cpu_times() for each in family]
        memory = sum(each.memory_full_info().pss for each in family) / 2**20
        return Start(seconds, sum(each.user + each.system for each in times), memory, response.status_code)


def measure_processor(environ: dict[str, str], python: str, service: int, photograph: bytes) -> tuple[float, float]:
    """Return the seconds until a processor is ready, and those from then until a new image has ended."""
    [source] = [
        each for each in psutil.Process(service).children(recursive=True) if "infra.local.eventing" in each.cmdline()
    ]
    source.suspend()  # or the service's own processor has the image
    try:
        [uuid] = upload([photograph], 1)[0]
        began = time.perf_counter()
        with start(python, "shared_lib.server", ROOT / "functions/process_image/main.py", environ) as (_, url):
            repeat(partial(requests.get, f"{url}/_/ready", timeout=30))
            ready = time.perf_counter()
            requests.post(url, headers=EVENT, json={"uuid": uuid}, timeout=30).raise_for_status()
            ended = time.perf_counter()
        if requests.get(f"{API}/images/{uuid}", timeout=10).json()["status"] != "succeeded":
            raise SystemExit("The image was not processed")
        return ready - began, ended - ready
    finally:
        source.resume()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("functions", nargs="*", help="folders; default: all")
    options = parser.parse_args()
    for folder in ("shared_lib", "functions"):
        compileall.compile_dir(ROOT / folder, quiet=1)
    with tempfile.TemporaryDirectory(prefix="cold-start-") as folder, serve(Path(folder)) as service:
        lines = (Path(folder) / "environment").read_text().splitlines()
        variables = dict(line.split("=", 1) for line in lines)
        environ = (
            os.environ | {name: shlex.split(value)[0] for name, value in variables.items()} | {"LOG_LEVEL": "error"}
        )
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        hello = Path(folder) / "hello.py"
        hello.write_text(HELLO)
        chosen = [each for each in list_functions() if not options.functions or each.folder in options.functions]
        measured: dict[str, list[Start]] = defaultdict(list)
        for _ in range(options.runs):
            for function in (None, *chosen):
                measured[function.folder if function else "the floor"].append(
                    measure(function, environ, hello, options.python)
                )
        photographs = make_photographs(options.runs)
        processors = [measure_processor(environ, options.python, service.pid, each) for each in photographs]
    print("| function | first response, s | processor time, s | of the floor's | memory, MiB | status |")
    print("|---|---|---|---|---|---|")
    floor = 0.0
    for name, starts in measured.items():
        seconds, processor, memory = map(statistics.median, list(zip(*starts, strict=True))[:3])
        floor = floor or processor
        cells = f"{seconds:.2f} | {processor:.2f} | {processor / floor:.1f} | {memory:.0f} | {starts[0].status}"
        print(f"| `{name}` | {cells} |")
    ready, image = (statistics.median(column) for column in zip(*processors, strict=True))
    print(f"\nA processor is ready after {ready:.2f} s, and has processed its first image {image:.2f} s later.")


if __name__ == "__main__":
    main()
