"""Measure the cold start of each function: from the start of its process to its first response.

    python -m benchmarks.cold_start [--runs 5]

Start the service for its database, store and broker. Then start each function like its container does, and repeat a
request until it responds: of a page or of an unknown image, or an event about one. Python's bytecode is compiled
beforehand, as in the image.
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
from pathlib import Path

import requests

from benchmarks.throughput import ROOT, serve
from infra.functions import Function, list_functions
from shared_lib.events import ProcessingRequested

UNKNOWN = "00000000-0000-4000-8000-000000000000"
EVENT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/benchmark", "ce-type": ProcessingRequested.type}
QUERIES = {"create_upload_url": "?extension=jpg"}
EVENTS_PATH = "/"


def request_for(function: Function) -> tuple[str, str]:
    """Return a method and path: of the function's first path, or for events."""
    if function.endpoint is None:
        return "POST", EVENTS_PATH
    path = re.sub(r"{\w+}", UNKNOWN, function.endpoint.route.paths[0])
    return function.endpoint.route.method, path + QUERIES.get(function.folder, "")


def measure(function: Function, environ: dict[str, str]) -> tuple[float, int]:
    """Return the seconds to the first response, and its status."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    method, path = request_for(function)
    serving = {"HOST": "127.0.0.1", "PORT": f"{port}", "FUNCTION_TARGET": "main"}
    source = str(ROOT / "functions" / function.folder / "main.py")
    began = time.perf_counter()
    command = [sys.executable, "-m", "shared_lib.server"]
    process = subprocess.Popen(command, env=environ | serving | {"FUNCTION_SOURCE": source})
    try:
        while True:
            try:
                headers = EVENT if path == EVENTS_PATH else {}
                body = {"uuid": UNKNOWN} if path == EVENTS_PATH else None
                response = requests.request(
                    method, f"http://127.0.0.1:{port}{path}", headers=headers, json=body, timeout=9
                )
            except requests.ConnectionError:
                time.sleep(0.005)
                continue
            return time.perf_counter() - began, response.status_code
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    for folder in ("shared_lib", "functions"):
        compileall.compile_dir(ROOT / folder, quiet=1)
    with tempfile.TemporaryDirectory(prefix="cold-start-") as folder, serve(Path(folder)):
        lines = (Path(folder) / "environment").read_text().splitlines()
        variables = dict(line.split("=", 1) for line in lines)
        environ = (
            os.environ | {name: shlex.split(value)[0] for name, value in variables.items()} | {"LOG_LEVEL": "error"}
        )
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        print("| function | first response, median of", runs, "| status |\n|---|---|---|")
        for function in list_functions():
            measured = [measure(function, environ) for _ in range(runs)]
            median = statistics.median(seconds for seconds, _ in measured)
            print(f"| `{function.folder}` | {median:.2f} s | {measured[0][1]} |")


if __name__ == "__main__":
    main()
