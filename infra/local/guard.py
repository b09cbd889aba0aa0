"""Ends what the supervisor started, when the supervisor itself was killed and cannot.

A small process of its own that reads a pipe from the supervisor: `<pid> <signal>` when a process group begins,
`-<pid>` when it has ended. The end of the pipe means that the supervisor is gone, however it went: then every group
still known is asked to stop, given time, and killed, and the directory given as the argument is removed.

The supervisor's lock on the data directory is inherited, so that it holds until all of this is over.
"""

import os
import shutil
import signal
import sys
import time

PATIENCE_SECONDS = 8.0


def main(scratch: str) -> None:
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked_to_stop, signal.SIG_IGN)  # only the end of the pipe ends the guard
    groups = _read_until_end()
    for group, stop_signal in groups.items():
        _signal(group, stop_signal)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(_signal(group, 0) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in groups:
        _signal(group, signal.SIGKILL)
    shutil.rmtree(scratch, ignore_errors=True)


def _read_until_end() -> dict[int, int]:
    groups: dict[int, int] = {}
    for line in sys.stdin:
        if line.startswith("-"):
            groups.pop(int(line[1:]), None)
        else:
            group, stop_signal = line.split()
            groups[int(group)] = int(stop_signal)
    return groups


def _signal(group: int, number: int) -> bool:
    """Whether anyone was there to receive it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1])
