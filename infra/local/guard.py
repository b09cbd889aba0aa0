"""Ends what the supervisor started, when the supervisor itself was killed and cannot.

A small process of its own, that reads a pipe from the supervisor: `<pid> <tier> <signal>` when a process group begins,
`-<pid>` when it has ended. The end of the pipe means that the supervisor is gone, however it went: then every group
still known is asked to stop, the highest tier first, given time, and killed. Last goes the directory that the argument
names.

The supervisor's lock on the data directory is inherited, so that it holds until all of this is over.
"""

import os
import shutil
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path

PATIENCE_SECONDS = 5.0  # with each tier


def main(scratch: str) -> None:
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked_to_stop, signal.SIG_IGN)  # only the end of the pipe ends the guard
    for _tier, groups in sorted(_read_until_end().items(), reverse=True):
        for group, stop_signal in groups.items():
            _signal(group, stop_signal)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(map(_is_gone, groups)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for group in groups:
            _signal(group, signal.SIGKILL)
    shutil.rmtree(scratch, ignore_errors=True)


def _read_until_end() -> dict[int, dict[int, int]]:
    """The groups that are left: the stop signal of each, by tier."""
    left: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for line in sys.stdin:
        if line.startswith("-"):
            for groups in left.values():
                groups.pop(int(line[1:]), None)
        else:
            group, tier, stop_signal = map(int, line.split())
            left[tier][group] = stop_signal
    return left


def _is_gone(group: int) -> bool:
    """Dead is enough: as an orphan it stays a zombie until process 1 looks, and in a container that may be never."""
    stat = Path(f"/proc/{group}/stat")
    return not _signal(group, 0) or (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def _signal(group: int, number: int) -> bool:
    """Whether anyone was there to receive it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1])
