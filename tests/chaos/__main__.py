"""A disk that fills up under load, and has room again: every image that was accepted succeeds, and nobody lends a hand.

    make chaos-disk        as root: it mounts a tmpfs of its own

Uploads go on, by both ways, while the disk is full; most are refused then, as they should be.
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
SETTLE_SECONDS = 15.0  # of load before the disk fills up
RECOVER_SECONDS = 120.0


@contextmanager
def mount_tmpfs(megabytes: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="chaos-disk-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's user must pass through
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "chaos-disk", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def fill(disk: Path) -> Iterator[None]:
    """Leave no byte free while the block runs: what others remove is taken too."""
    freed = threading.Event()

    def take() -> None:
        with (disk / "filler").open("wb", buffering=0) as file:
            while not freed.is_set():
                try:
                    file.write(bytes(1 << 16))
                except OSError:
                    freed.wait(0.05)

    taking = threading.Thread(target=take)
    taking.start()
    try:
        yield
    finally:
        freed.set()
        taking.join()
        (disk / "filler").unlink()


class Load:
    """Clients that upload one picture after the other, straight and by presigned URL, until stopped."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._photo = make_photo(800, 600)
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._upload, args=[number]) for number in range(CLIENTS)]
        self.accepted: list[str] = []
        self.refused: Counter[str] = Counter()
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
        answer = api("POST", "/images/actions/upload", files=files)
        self.refused[f"POST {answer.status_code}"] += 1
        return str(answer.json()["data"]["uuid"]) if answer.ok else None

    def _put(self, api: Api) -> str | None:
        ticket = api("GET", "/images/actions/upload-url?extension=jpg")
        if not ticket.ok:
            self.refused[f"GET {ticket.status_code}"] += 1
            return None
        answer = requests.put(ticket.json()["presignedUrl"], self._photo, timeout=30)
        self.refused[f"PUT {answer.status_code}"] += 1
        return str(ticket.json()["uuid"]) if answer.ok else None


def count_by_end(api: Api, uuids: list[str]) -> Counter[str]:
    """How many images are at each status, or what is answered instead, with the reason of those that failed."""
    ends: Counter[str] = Counter()
    for uuid in uuids:
        try:
            image = api("GET", f"/images/{uuid}").json()
        except requests.RequestException:
            ends["no answer"] += 1
            continue
        ends[image["status"] if "status" in image else image["code"]] += 1
        if image.get("status") == "failed":
            print(uuid, image["error"])
    return ends


def main(megabytes: int, full_seconds: float) -> int:
    with mount_tmpfs(megabytes) as disk:
        platform = start_platform(disk)
        try:
            ends = run(platform.url, disk, full_seconds)
        finally:
            platform.stop()
        print_stuck(platform.log)
    return 0 if ends.keys() == {"succeeded"} else 1


def run(url: str, disk: Path, full_seconds: float) -> Counter[str]:
    load = Load(url)
    try:
        time.sleep(SETTLE_SECONDS)
        before = len(load.accepted)
        with fill(disk):
            print(f"{before} accepted; the disk is full now")
            time.sleep(full_seconds)
        print(f"{len(load.accepted) - before} accepted meanwhile; the disk has room again")
        freed = time.monotonic()
        time.sleep(5)
    finally:
        load.stop()
    print("answers:", dict(load.refused))
    with requests.Session() as session:
        api = Api(f"{url}/api/v1", session)
        while True:
            ends = count_by_end(api, load.accepted)
            seconds = time.monotonic() - freed
            print(f"{seconds:4.0f} s after: {dict(ends)}")
            if ends.keys() <= {"succeeded"} or seconds > RECOVER_SECONDS:
                health = requests.get(f"{url}/api/health", timeout=30)
                print("health:", health.status_code, health.text)
                return ends
            time.sleep(2)


def print_stuck(log: Path) -> None:
    """What the supervisor ended or started again."""
    for line in log.read_text(errors="replace").splitlines():
        if " it is ended" in line or " starts again in " in line:
            print(line)


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("chaos: only root can mount a disk to fill")
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=900, help="of the disk (default: %(default)s)")
    parser.add_argument("--full-seconds", type=float, default=45, help="how long it is full (default: %(default)s)")
    asked = parser.parse_args()
    sys.exit(main(asked.megabytes, asked.full_seconds))
