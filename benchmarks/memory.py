"""Measure the memory of the whole service, idle, by part.

    python -m benchmarks.memory [--wait 60] [--images 0]

Start the service with an empty data folder, upload some photographs or none, wait, and print the memory of each part.
PSS counts a page that several processes share once in all (smaps_rollup in proc(5)). Files that are mapped count, as
far as they have been read.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import psutil

from benchmarks.cost import parts_of
from benchmarks.throughput import count_finished, make_photographs, serve, upload

MIB = 2**20
CLIENTS = 4


def measure(service: int) -> dict[str, tuple[int, float, float]]:
    """Return the number of processes of each part, and their PSS and anonymous memory (USS without files), in MiB."""
    parts = defaultdict(list)
    for pid, part in ({service: "supervisor"} | parts_of(service)).items():
        parts[part].append(psutil.Process(pid))
    found = {}
    for part, processes in parts.items():
        maps = [each for process in processes if process.is_running() for each in process.memory_maps()]
        own = sum(each.pss for each in maps if each.path.startswith("[anon") or each.path == "[heap]")
        found[part] = len(processes), sum(each.pss for each in maps) / MIB, own / MIB
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wait", type=int, default=60, help="seconds")
    parser.add_argument("--images", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memory-") as folder, serve(Path(folder)) as service:
        if options.images:
            upload(make_photographs(options.images), CLIENTS)
            while count_finished() < options.images:
                time.sleep(0.5)
        time.sleep(options.wait)
        found = measure(service.pid)
    print("| part | processes | PSS, MiB | of it anonymous |\n|---|---|---|---|")
    for part, (processes, pss, own) in sorted(found.items(), key=lambda each: -each[1][1]):
        print(f"| {part} | {processes} | {pss:.0f} | {own:.0f} |")
    processes, pss, own = map(sum, zip(*found.values(), strict=True))
    print(f"| all | {processes} | {pss:.0f} | {own:.0f} |")


if __name__ == "__main__":
    main()
