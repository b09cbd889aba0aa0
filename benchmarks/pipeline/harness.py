"""Define the test cases and measure them: by processor time, so that other processes matter less."""

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

CASES = [
    (side, fit, to) for side, fit in ((100, "cover"), (800, "inside"), (1600, "inside")) for to in ("jpeg", "webp")
]
QUALITY = {"jpeg": 82, "webp": 80}


def measure(render: Callable[[bytes, int, str, str], bytes]) -> None:
    """Print a JSON line per case. Arguments: the file, seconds per case, and a folder for renditions."""
    data, folder = Path(sys.argv[1]).read_bytes(), Path(sys.argv[3])
    for side, fit, to in CASES:
        rendition = render(data, side, fit, to)
        (folder / f"{side}-{fit}.{to}").write_bytes(rendition)
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak memory
        best, runs, end = float("inf"), 0, time.monotonic() + float(sys.argv[2])
        while runs < 2 or time.monotonic() < end:
            before = time.process_time()
            render(data, side, fit, to)
            best, runs = min(best, time.process_time() - before), runs + 1
        print(
            json.dumps({"case": f"{side} {fit} {to}", "ms": best * 1e3, "mib": _peak(), "bytes": len(rendition)}),
            flush=True,
        )


def _peak() -> float:
    """Return the peak resident memory, in MiB."""
    match = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(match[1]) / 1024 if match else 0.0
