"""`python -m infra.local`: the whole service on one machine, from the manifests that a cluster runs."""

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

LEAST_FREE_MB = 512
LOCK_PATIENCE_SECONDS = 20.0  # the guard of a killed run may still be ending what that left


def main() -> int:
    """Start, serve until asked to stop, and stop; the exit code says whether it went well."""
    argparse.ArgumentParser(
        prog="python -m infra.local",
        description="Run the whole service on this machine, until Ctrl-C.",
        epilog="It takes no arguments. Its settings are variables: PORT (5000), HOST (127.0.0.1) and DATA_DIR (.data), "
        "and those in the README's table; one that names a service of yours is used instead of an embedded one.",
    ).parse_args()
    try:
        settings = Settings.from_environment()
        with _data_dir(settings.data_dir) as lock:
            _check_port(settings)
            return _serve(settings, lock)
    except CannotStart as reason:
        terminal.complain(f"{reason}")
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        terminal.complain(f"The disk is full ({error.filename}): free some space, or set DATA_DIR to another disk.")
    return 1


def _serve(settings: Settings, lock: IO[str]) -> int:
    inbox: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()  # its put() is safe in a signal handler
    _on_signals(inbox)
    supervisor = Supervisor(lock)
    starting = threading.Thread(target=_start, args=[settings, supervisor, inbox])
    starting.start()
    failure: Exception | None = None
    try:
        failure = _wait(inbox, supervisor)
    finally:
        terminal.say("\nStopping …")
        supervisor.stop()
        starting.join()
    if failure:
        raise failure
    return 0


def _start(settings: Settings, supervisor: Supervisor, inbox: "queue.SimpleQueue[Exception | None]") -> None:
    try:
        machine.start(settings, supervisor)
    except Interrupted:
        pass
    except Exception as failure:  # noqa: BLE001 - raised again, in the main thread
        inbox.put(failure)


def _wait(inbox: "queue.SimpleQueue[Exception | None]", supervisor: Supervisor) -> Exception | None:
    """Until a signal comes, the start fails, or the guard is lost; what failed, if something did."""
    while supervisor.is_guarded:
        try:
            return inbox.get(timeout=1)
        except queue.Empty:
            continue
    return CannotStart("The guard process was killed; nothing runs without it. Start again.")


def _on_signals(inbox: "queue.SimpleQueue[Exception | None]") -> None:
    first: list[float] = []

    def stop(number: int, _frame: object) -> None:
        first.append(time.monotonic())
        inbox.put(None)
        # Asked again, and not just by a terminal and a shell at once, it leaves; and the rest to the guard.
        if first[-1] - first[0] > 1:
            os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


@contextmanager
def _data_dir(path: Path) -> Iterator[IO[str]]:
    """The data directory, made if need be, and held by this process and its guard alone."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / "lock").open("a+")
    except OSError as error:
        raise CannotStart(f"DATA_DIR={path} cannot be written ({error.strerror}): set DATA_DIR to another.") from None
    with lock:
        _lock(lock, path)
        free = shutil.disk_usage(path).free // 2**20
        if free < LEAST_FREE_MB:
            raise CannotStart(
                f"Only {free} MB are free in DATA_DIR={path}, and {LEAST_FREE_MB} MB are needed: free some space, or "
                "set DATA_DIR to another disk."
            )
        yield lock


def _lock(lock: IO[str], path: Path) -> None:
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    while not _try_lock(lock):
        lock.seek(0)
        holder = int(lock.read() or 0)
        if _is_running(holder) or time.monotonic() > deadline:
            raise CannotStart(
                f"DATA_DIR={path} is in use by process {holder}: stop that one, or start this one with its own, "
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
    """If not, it was killed, and what still holds the lock is its guard: that will be over soon."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process > 0


def _check_port(settings: Settings) -> None:
    """Better now, and in words, than by the server in a quarter of a minute."""
    try:
        ports.try_binding(settings.port, settings.host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(
                f"Port {settings.port} on {settings.host} is taken: stop what listens there, or choose another, "
                f"PORT={settings.port + 1} make run"
            ) from None
        raise CannotStart(
            f"HOST={settings.host} PORT={settings.port} cannot be listened on: {error.strerror}."
        ) from None


if __name__ == "__main__":
    sys.exit(main())
