"""Run the whole service on one machine, from the same manifests as a cluster: `python -m infra.local`."""

import argparse
import errno
import fcntl
import os
import queue
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from infra.local import machine, ports, terminal
from infra.local.processes import Interrupted, Supervisor
from infra.local.settings import CannotStart, Settings

MIN_FREE_MB = 512
LOCK_TIMEOUT_SECONDS = 20.0  # after a run is killed, its guard may still be stopping processes


def main() -> int:
    """Serve until stopped by a signal. Return the exit code."""
    argparse.ArgumentParser(
        prog="python -m infra.local",
        description="Run the whole service on this machine until Ctrl-C.",
        epilog="It takes no arguments. Set environment variables instead: PORT (5000), HOST (127.0.0.1), DATA_DIR "
        "(.data), and those in the README's table. If one names a service of yours, no embedded one is started.",
    ).parse_args()
    try:
        settings = Settings.from_environment()
        with _data_dir(settings.data_dir) as lock:
            _check_port(settings)
            return _serve(settings, lock)
    except CannotStart as reason:
        terminal.print_error(f"{reason}")
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        terminal.print_error(f"The disk is full ({error.filename}): free some space, or set DATA_DIR to another disk.")
    return 1


def _serve(settings: Settings, lock: IO[str]) -> int:
    outcomes: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()  # its put() is safe in a signal handler
    _on_signals(outcomes)
    supervisor = Supervisor(lock)
    starting = threading.Thread(target=_start, args=[settings, supervisor, outcomes])
    starting.start()
    failure: Exception | None = None
    try:
        failure = _wait(outcomes, supervisor)
    finally:
        terminal.print_line("\nStopping …")
        supervisor.stop()
        starting.join()
    if failure:
        raise failure
    return 0


def _start(settings: Settings, supervisor: Supervisor, outcomes: "queue.SimpleQueue[Exception | None]") -> None:
    try:
        machine.start(settings, supervisor)
    except Interrupted:
        pass
    except Exception as failure:  # noqa: BLE001  raised again, in the main thread
        outcomes.put(failure)


def _wait(outcomes: "queue.SimpleQueue[Exception | None]", supervisor: Supervisor) -> Exception | None:
    """Wait for a signal, a failed start, or the loss of the guard. Return the error, or None after a signal."""
    while supervisor.is_guarded:
        try:
            return outcomes.get(timeout=1)
        except queue.Empty:
            continue
    return CannotStart("The guard process was killed. Nothing runs without it: start again.")


def _on_signals(outcomes: "queue.SimpleQueue[Exception | None]") -> None:
    first: list[float] = []

    def stop(number: int, _frame: object) -> None:
        first.append(time.monotonic())
        outcomes.put(None)
        # A second request leaves at once, and the guard stops the rest. A terminal and a shell may send the first
        # twice.
        if first[-1] - first[0] > 1:
            os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


@contextmanager
def _data_dir(path: Path) -> Iterator[IO[str]]:
    """Create the data directory if necessary, and lock it for this process and its guard."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / "lock").open("a+")
    except OSError as error:
        raise CannotStart(f"DATA_DIR={path} cannot be written ({error.strerror}): set DATA_DIR to another.") from None
    with lock:
        _lock(lock, path)
        free = shutil.disk_usage(path).free // 2**20
        if free < MIN_FREE_MB:
            raise CannotStart(
                f"Only {free} MB are free in DATA_DIR={path}, and {MIN_FREE_MB} MB are needed: free some space, or "
                "set DATA_DIR to another disk."
            )
        yield lock


def _lock(lock: IO[str], path: Path) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while not _try_lock(lock):
        lock.seek(0)
        holder = int(lock.read() or 0)
        if _is_running(holder) or time.monotonic() > deadline:
            raise CannotStart(
                f"DATA_DIR={path} is in use by process {holder}: stop it, or use another directory, "
                "DATA_DIR=.data2 PORT=5001 make run"
            )
        time.sleep(0.1)
    lock.truncate(0)
    lock.write(f"{os.getpid()}")
    lock.flush()


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_running(process: int) -> bool:
    """Return whether the process runs. If it was killed, its guard has the lock, and will release it soon."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process > 0


def _check_port(settings: Settings) -> None:
    """Check the port first, for an early and clear error. The server would only fail after about 15 seconds."""
    try:
        ports.try_binding(settings.port, settings.host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(
                f"Port {settings.port} on {settings.host} is in use: stop the process there, or choose another, "
                f"PORT={settings.port + 1} make run"
            ) from None
        raise CannotStart(f"Cannot listen on HOST={settings.host} PORT={settings.port}: {error.strerror}.") from None


if __name__ == "__main__":
    sys.exit(main())
