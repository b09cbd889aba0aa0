"""Cold start of each function: from starting its process to its first answer, as its container runs it.

    python -m benchmarks.cold_start [--runs 5]

Starts the service for its parts, then each function by itself as its container does, and asks it until it answers: a
GET of a page or of an image that is not there, an event about an image that never was.
Python's bytecode is compiled beforehand, as it is in the image.
"""

import argparse
import compileall
import os
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
from shared_lib.events import ProcessingRequested

UNKNOWN = "00000000-0000-4000-8000-000000000000"
EVENT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/benchmark", "ce-type": ProcessingRequested.type}
REQUESTS: dict[str, tuple[str, str]] = {
    "list_images": ("GET", "/api/v1/images"),
    "get_image": ("GET", f"/api/v1/images/{UNKNOWN}"),
    "delete_image": ("DELETE", f"/api/v1/images/{UNKNOWN}"),
    "create_upload_url": ("GET", "/api/v1/images/actions/upload-url?extension=jpg"),
    "upload_image": ("POST", "/api/v1/images/actions/upload"),
    "request_processing": ("POST", "/api/v1/images/actions/process"),
    "list_collections": ("GET", "/api/v1/collections"),
    "create_collection": ("POST", "/api/v1/collections"),
    "get_collection": ("GET", f"/api/v1/collections/{UNKNOWN}"),
    "update_collection": ("PATCH", f"/api/v1/collections/{UNKNOWN}"),
    "delete_collection": ("DELETE", f"/api/v1/collections/{UNKNOWN}"),
    "add_images_to_collection": ("POST", f"/api/v1/collections/{UNKNOWN}/relationships/images"),
    "remove_images_from_collection": ("DELETE", f"/api/v1/collections/{UNKNOWN}/relationships/images"),
    "get_health": ("GET", "/api/health/live"),
    "serve_api_docs": ("GET", "/openapi.json"),
    "process_image": ("POST", "/"),
    "record_dead_letter": ("POST", "/"),
    "reconcile_images": ("POST", "/"),
}


def measure(function: str, environ: dict[str, str]) -> tuple[float, int]:
    """Seconds to the first answer, and its status."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    method, path = REQUESTS[function]
    serving = {"HOST": "127.0.0.1", "PORT": f"{port}", "FUNCTION_TARGET": "main"}
    source = str(ROOT / "functions" / function / "main.py")
    began = time.perf_counter()
    command = [sys.executable, "-m", "shared_lib.server"]
    process = subprocess.Popen(command, env=environ | serving | {"FUNCTION_SOURCE": source})
    try:
        while True:
            try:
                headers = EVENT if path == "/" else {}
                body = {"uuid": UNKNOWN} if path == "/" else None
                answer = requests.request(
                    method, f"http://127.0.0.1:{port}{path}", headers=headers, json=body, timeout=9
                )
            except requests.ConnectionError:
                time.sleep(0.005)
                continue
            return time.perf_counter() - began, answer.status_code
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
        told = dict(line.split("=", 1) for line in lines)
        environ = os.environ | {name: shlex.split(value)[0] for name, value in told.items()} | {"LOG_LEVEL": "error"}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        print("| function | first answer, median of", runs, "| status |\n|---|---|---|")
        for function in REQUESTS:
            measured = [measure(function, environ) for _ in range(runs)]
            print(
                f"| `{function}` | {statistics.median(seconds for seconds, _ in measured):.2f} s | {measured[0][1]} |"
            )


if __name__ == "__main__":
    main()
