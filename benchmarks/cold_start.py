"""Measure the cold start of each function: from the start of its process to its first response.

    python -m benchmarks.cold_start [--runs 5] [FUNCTION ...]

Start the service for its database, store and broker. Then start each function like its container does, and repeat a
request until it responds: of a page or of an unknown image, or an event about one. Python's bytecode is compiled
beforehand, as in the image. The floor is a function that only says hello, behind functions-framework's own server. All
are started in turns, so that they meet the same noise.
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
from pathlib import Path

import psutil
import requests

from benchmarks.throughput import ROOT, serve
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


def request_for(function: Function) -> tuple[str, str]:
    """Return a method and path: of the function's first path, or for events."""
    if function.endpoint is None:
        return "POST", EVENTS_PATH
    path = re.sub(r"{\w+}", UNKNOWN, function.endpoint.route.paths[0])
    return function.endpoint.route.method, path + QUERIES.get(function.folder, "")


def measure(function: Function | None, environ: dict[str, str], hello: Path) -> tuple[float, float, int]:
    """Return the seconds to the first response, those of processor time, and its status. None is the floor."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    method, path = request_for(function) if function else ("GET", "/")
    source = ROOT / "functions" / function.folder / "main.py" if function else hello
    serving = {"HOST": "127.0.0.1", "PORT": f"{port}", "FUNCTION_TARGET": "main", "FUNCTION_SOURCE": f"{source}"}
    command = [sys.executable, "-m", "shared_lib.server" if function else "functions_framework"]
    is_event = function is not None and path == EVENTS_PATH
    began = time.perf_counter()
    process = psutil.Popen(command, env=environ | serving, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                response = requests.request(
                    method,
                    f"http://127.0.0.1:{port}{path}",
                    headers=EVENT if is_event else {},
                    json={"uuid": UNKNOWN} if is_event else None,
                    timeout=9,
                )
            except requests.ConnectionError:
                time.sleep(0.005)
                continue
            seconds = time.perf_counter() - began
            times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
            return seconds, sum(each.user + each.system for each in times), response.status_code
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("functions", nargs="*", help="folders; default: all")
    options = parser.parse_args()
    for folder in ("shared_lib", "functions"):
        compileall.compile_dir(ROOT / folder, quiet=1)
    with tempfile.TemporaryDirectory(prefix="cold-start-") as folder, serve(Path(folder)):
        lines = (Path(folder) / "environment").read_text().splitlines()
        variables = dict(line.split("=", 1) for line in lines)
        environ = (
            os.environ | {name: shlex.split(value)[0] for name, value in variables.items()} | {"LOG_LEVEL": "error"}
        )
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        hello = Path(folder) / "hello.py"
        hello.write_text(HELLO)
        chosen = [each for each in list_functions() if not options.functions or each.folder in options.functions]
        measured: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
        for _ in range(options.runs):
            for function in (None, *chosen):
                measured[function.folder if function else "the floor"].append(measure(function, environ, hello))
    print("| function | first response, s | processor time, s | of the floor's | status |\n|---|---|---|---|---|")
    floor = 0.0
    for name, results in measured.items():
        seconds, processor = (statistics.median(each[column] for each in results) for column in (0, 1))
        floor = floor or processor
        print(f"| `{name}` | {seconds:.2f} | {processor:.2f} | {processor / floor:.1f} | {results[0][2]} |")


if __name__ == "__main__":
    main()
