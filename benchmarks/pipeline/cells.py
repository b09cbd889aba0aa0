"""What every contestant is asked, and how it is measured: processor time, which other work on the machine leaves be."""

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

CELLS = [
    (side, fit, to) for side, fit in ((100, "cover"), (800, "inside"), (1600, "inside")) for to in ("jpeg", "webp")
]
QUALITY = {"jpeg": 82, "webp": 80}


def measure(render: Callable[[bytes, int, str, str], bytes]) -> None:
    """Print a JSON line per cell. On the command line: the file, seconds per cell, a folder for what is made."""
    data, folder = Path(sys.argv[1]).read_bytes(), Path(sys.argv[3])
    for side, fit, to in CELLS:
        made = render(data, side, fit, to)
        (folder / f"{side}-{fit}.{to}").write_bytes(made)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        best, runs, end = float("inf"), 0, time.monotonic() + float(sys.argv[2])
        while runs < 2 or time.monotonic() < end:
            before = time.process_time()
            render(data, side, fit, to)
            best, runs = min(best, time.process_time() - before), runs + 1
        print(
            json.dumps({"cell": f"{side} {fit} {to}", "ms": best * 1e3, "mib": _peak(), "bytes": len(made)}), flush=True
        )


def _peak() -> float:
    """Of the resident memory, MiB."""
    match = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(match[1]) / 1024 if match else 0.0
