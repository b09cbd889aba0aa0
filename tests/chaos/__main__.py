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
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
from service import Api, make_photo, start_platform

CLIENTS = 4
SETTLE_SECONDS = 15.0  # of load before the disk is filled
RECOVER_SECONDS = 120.0


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


class Load:
    """Clients that upload photos in a loop, half of them directly and half by presigned URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._photo = make_photo(800, 600)
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._upload, args=[number]) for number in range(CLIENTS)]
        self.accepted: list[str] = []
        self.responses: Counter[str] = Counter()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _upload(self, number: int) -> None:
        with requests.Session() as session:
            api = Api(f"{self._url}/api/v1", session)
            while not self._stopped.wait(0.2):
                with suppress(requests.RequestException):
                    if uuid := self._put(api) if number % 2 else self._post(api):
                        self.accepted.append(uuid)

    def _post(self, api: Api) -> str | None:
        files = {"file": ("photo.jpg", self._photo, "image/jpeg")}
        response = api("POST", "/images/actions/upload", files=files)
        self.responses[f"POST {response.status_code}"] += 1
        return str(response.json()["data"]["uuid"]) if response.ok else None

    def _put(self, api: Api) -> str | None:
        signed = api("GET", "/images/actions/upload-url?extension=jpg")
        if not signed.ok:
            self.responses[f"GET {signed.status_code}"] += 1
            return None
        response = requests.put(signed.json()["presignedUrl"], self._photo, timeout=30)
        self.responses[f"PUT {response.status_code}"] += 1
        return str(signed.json()["uuid"]) if response.ok else None


def count_by_status(api: Api, uuids: list[str]) -> Counter[str]:
    """Count images by status, or by error code. Print the errors of failed images."""
    statuses: Counter[str] = Counter()
    for uuid in uuids:
        try:
            image = api("GET", f"/images/{uuid}").json()
        except requests.RequestException:
            statuses["no response"] += 1
            continue
        statuses[image["status"] if "status" in image else image["code"]] += 1
        if image.get("status") == "failed":
            print(uuid, image["error"])
    return statuses


def main(megabytes: int, full_seconds: float) -> int:
    with mount_tmpfs(megabytes) as disk:
        platform = start_platform(disk)
        try:
            statuses = run(platform.url, disk, full_seconds)
        finally:
            platform.stop()
        print_stuck(platform.log)
    return 0 if statuses.keys() == {"succeeded"} else 1


def run(url: str, disk: Path, full_seconds: float) -> Counter[str]:
    load = Load(url)
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
    with requests.Session() as session:
        api = Api(f"{url}/api/v1", session)
        while True:
            statuses = count_by_status(api, load.accepted)
            seconds = time.monotonic() - freed
            print(f"{seconds:4.0f} s later: {dict(statuses)}")
            if statuses.keys() <= {"succeeded"} or seconds > RECOVER_SECONDS:
                health = requests.get(f"{url}/api/health", timeout=30)
                print("health:", health.status_code, health.text)
                return statuses
            time.sleep(2)


def print_stuck(log: Path) -> None:
    """Print which processes the supervisor stopped or restarted."""
    for line in log.read_text(errors="replace").splitlines():
        if "It is being stopped" in line or ". Restart in " in line:
            print(line)


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("chaos: only root can mount a disk")
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=900, help="size of the disk (default: %(default)s)")
    parser.add_argument("--full-seconds", type=float, default=45, help="how long it is full (default: %(default)s)")
    options = parser.parse_args()
    sys.exit(main(options.megabytes, options.full_seconds))
