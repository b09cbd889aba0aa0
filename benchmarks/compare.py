"""Compare the throughput of a commit with that of the working tree.

    python -m benchmarks.compare COMMIT [--rounds 3] [--images 200]

Clone the commit into a temporary folder with its own virtual environment. Run the commit's own `benchmarks.throughput`
and the working tree's in turns, so that both meet the same noise. Print the results of each round and the ratio of the
medians.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import psutil

from benchmarks.cost import parts_of, spent
from benchmarks.throughput import ROOT

UPLOADS = re.compile(r"uploads: +([\d.]+)/s, p50 \d+ ms, p99 (\d+) ms")
END_TO_END = re.compile(r"end to end: +([\d.]+) images/s")
AUDIT = re.compile(r"attempts: ")  # the first line that the program prints: all images are processed
HEADER = ("", "uploads/s", "upload p99, ms", "images/s end to end", "processor, ms per image")


@dataclass(frozen=True)
class Result:
    """The results of one run, in the order of HEADER."""

    uploads_per_second: float
    upload_p99_ms: float
    images_per_second: float
    processor_ms_per_image: float


def clone(commit: str, folder: Path) -> None:
    """Clone a commit into a folder and install what it requires."""
    resolved = _output("git", "-C", f"{ROOT}", "rev-parse", "--verify", f"{commit}^{{commit}}")
    _output("git", "clone", "--quiet", "--shared", "--no-checkout", f"{ROOT}", f"{folder}")
    _output("git", "-C", f"{folder}", "checkout", "--quiet", "--detach", resolved)
    _output("make", "--silent", "-C", f"{folder}", ".venv/ready-to-run")
    _output(f"{folder}/.venv/bin/pip", "install", "--quiet", "psutil", "requests")  # only the benchmark imports them


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def run(tree: Path, python: str, images: int) -> Result:
    """Run the throughput benchmark of a tree."""
    command = [python, "-u", "-m", "benchmarks.throughput", "--images", f"{images}"]
    with subprocess.Popen(command, cwd=tree, stdout=subprocess.PIPE, text=True) as benchmark:
        service = _await_service(benchmark)
        before, after, output = _processor_seconds(service), 0.0, ""
        for line in benchmark.stdout or ():
            if AUDIT.search(line) and not after:
                after = _processor_seconds(service)
            output += line
    uploads, end_to_end = UPLOADS.search(output), END_TO_END.search(output)
    if benchmark.returncode or not (uploads and end_to_end):
        raise SystemExit(f"The benchmark in {tree} failed:\n{output}")
    return Result(float(uploads[1]), float(uploads[2]), float(end_to_end[1]), (after - before) / images * 1000)


def _await_service(benchmark: "subprocess.Popen[str]") -> int:
    """Return the process of the service as soon as it is ready."""
    while benchmark.poll() is None:
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(benchmark.pid).children():
                log = Path(process.environ().get("DATA_DIR", "")) / "run.log"
                if log.is_file() and b"Ready after" in log.read_bytes():
                    return process.pid
        time.sleep(0.05)
    raise SystemExit("The service did not start")


def _processor_seconds(service: int) -> float:
    return sum(spent(parts_of(service)).values())


def show(name: str, values: tuple[float, ...]) -> None:
    cells = (f"{value:>{len(title)}.2f}" for title, value in zip(HEADER[1:], values, strict=True))
    print(f"{name:<24}", *cells, sep="  ", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        old = Path(folder) / "commit"
        clone(options.commit, old)
        sides = {options.commit: (old, f"{old}/.venv/bin/python"), "working tree": (ROOT, sys.executable)}
        results: dict[str, list[Result]] = {name: [] for name in sides}
        print(f"{'':<24}", *HEADER[1:], sep="  ")
        for number in range(1, options.rounds + 1):
            for name, (tree, python) in sides.items():
                results[name].append(run(tree, python, options.images))
                show(f"{number}: {name}", astuple(results[name][-1]))
    before, now = (
        [statistics.median(column) for column in zip(*map(astuple, each), strict=True)] for each in results.values()
    )
    show("ratio of the medians", tuple(new / old for new, old in zip(now, before, strict=True)))


if __name__ == "__main__":
    main()
