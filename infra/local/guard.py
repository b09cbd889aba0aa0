"""Stop the supervisor's processes if the supervisor itself is killed.

The guard is a small process that reads a pipe from the supervisor: `<pid> <tier> <signal>` when a process group starts,
and `-<pid>` when it has ended. When the pipe closes, the supervisor is gone. The guard then signals every remaining
group, highest tier first, waits, and kills those that still run. At the end it deletes the directory named by its
argument.

It inherits the supervisor's lock on the data directory, so the lock lasts until all processes are gone.
"""

import os
import shutil
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path

GRACE_SECONDS = 5.0  # for each tier


def main(scratch: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # only the end of the pipe ends the guard
    for _tier, groups in sorted(_read_until_end().items(), reverse=True):
        for group, stop_signal in groups.items():
            _signal(group, stop_signal)
        deadline = time.monotonic() + GRACE_SECONDS
        while not all(map(_is_gone, groups)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for group in groups:
            _signal(group, signal.SIGKILL)
    shutil.rmtree(scratch, ignore_errors=True)


def _read_until_end() -> dict[int, dict[int, int]]:
    """Return the stop signal of each remaining group, by tier."""
    remaining: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for line in sys.stdin:
        if line.startswith("-"):
            for groups in remaining.values():
                groups.pop(int(line[1:]), None)
        else:
            group, tier, stop_signal = map(int, line.split())
            remaining[tier][group] = stop_signal
    return remaining


def _is_gone(group: int) -> bool:
    """Count zombies as gone: an orphan stays one until process 1 reaps it, which in a container may be never."""
    stat = Path(f"/proc/{group}/stat")
    return not _signal(group, 0) or (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def _signal(group: int, number: int) -> bool:
    """Send a signal. Return whether the group exists."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS raises the latter for a group of zombies
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1])
