"""Fill the disk under load, then free it: every accepted image must succeed, without help from an operator.

    make chaos-disk        as root: it mounts a tmpfs of its own

Direct and presigned uploads continue while the disk is full. Most of them fail then, as expected.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
from chaos.load import Load, Photos
from service import start_platform

from benchmarks.audit import Audit
from shared_lib.errors import Unavailable

RATE = 15  # uploads per second
SETTLE_SECONDS = 15.0  # of load before the disk is filled
RECOVER_SECONDS = 300.0


@contextmanager
def mount_tmpfs(megabytes: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="chaos-disk-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's user needs access
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "chaos-disk", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def fill(disk: Path) -> Iterator[None]:
    """Fill the disk during the block. Space that other processes free is filled too."""
    freed = threading.Event()

    def write() -> None:
        with (disk / "filler").open("wb", buffering=0) as file:
            while not freed.is_set():
                try:
                    file.write(bytes(1 << 16))
                except OSError:
                    freed.wait(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        freed.set()
        writer.join()
        (disk / "filler").unlink()


def main(megabytes: int, full_seconds: float) -> int:
    with mount_tmpfs(megabytes) as disk:
        platform = start_platform(disk)
        try:
            faults = run(platform.url, disk, full_seconds)
        finally:
            platform.stop()
        print_stuck(platform.log)
    print("\n".join(faults))
    return 1 if faults else 0


def run(url: str, disk: Path, full_seconds: float) -> list[str]:
    """Fill the disk under load and free it. Return what the audit finds when the service has recovered."""
    load = Load(url, Photos(800, 600), name="disk", rate=RATE)
    try:
        time.sleep(SETTLE_SECONDS)
        before = len(load.accepted)
        with fill(disk):
            print(f"{before} accepted, and now the disk is full")
            time.sleep(full_seconds)
        print(f"{len(load.accepted) - before} accepted meanwhile, and now the disk has free space")
        freed = time.monotonic()
        time.sleep(5)
    finally:
        load.stop()
    print("responses:", dict(load.responses))
    audit = Audit(disk)
    while (seconds := time.monotonic() - freed) < RECOVER_SECONDS:
        with suppress(Unavailable):
            waiting = audit.find_unsettled(load.history)
            print(f"{seconds:4.0f} s later: {len(waiting)} images are still on their way")
            if not waiting:
                break
        time.sleep(2)
    health = requests.get(f"{url}/api/health", timeout=30)
    print("health:", health.status_code, health.text)
    return audit.judge(load.history).faults


def print_stuck(log: Path) -> None:
    """Print which processes the supervisor stopped or restarted."""
    for line in log.read_text(errors="replace").splitlines():
        if "It is being stopped" in line or ". Restart in " in line:
            print(line)


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("chaos: only root can mount a disk")
    parser = argparse.ArgumentParser(prog="python -m chaos.disk", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=900, help="size of the disk (default: %(default)s)")
    parser.add_argument("--full-seconds", type=float, default=45, help="how long it is full (default: %(default)s)")
    options = parser.parse_args()
    sys.exit(main(options.megabytes, options.full_seconds))
