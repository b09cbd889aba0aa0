"""What a full disk does to an embedded SeaweedFS, which answers as before: found out, and mended.

It may refuse writes ever after, until it is started again. Its filer keeps entries in eight databases, by the folder
that they are in, and each may be stuck by itself: so there is a folder for each, that no S3 client sees, and the check
writes and removes an entry of one byte in it. And a volume whose index was cut off in the middle of an entry is not
loaded at the next start, with all objects in it: so its index is written anew before, from the volume itself.
"""

import hashlib
import itertools
import shutil
import subprocess
import time
from pathlib import Path

import urllib3

from infra.local.ports import LOOPBACK

DATABASES = 8  # of weed's filer: `leveldb2`
EVERY_SECONDS = 30.0  # while nothing is the matter: one database
ANSWER_SECONDS = 5.0
# It makes its volumes read-only with less than 1 % free, and a restart would not change that.
LEAST_FREE_BYTES, LEAST_FREE_SHARE = 64 * 2**20, 0.02
INDEX_ENTRY_BYTES = 17  # of the builds for large disks, as the wheel's is: 8 of the key, 5 of the place, 4 of the size


class WriteCheck:
    def __init__(self, filer_port: int, data: Path) -> None:
        self._base = f"http://{LOOPBACK}:{filer_port}"
        self._data = data
        self._folders = itertools.cycle(find_folders())
        self._http = urllib3.PoolManager(retries=False, timeout=ANSWER_SECONDS)
        self._suspected = False
        self._due = 0.0

    def __call__(self) -> bool:
        """Cheap enough to be asked every few seconds. Without room on the disk, nobody is to blame for not writing."""
        if not self._has_room():
            self._suspected = True
            return True
        if time.monotonic() < self._due and not self._suspected:
            return True
        self._due = time.monotonic() + EVERY_SECONDS
        count = DATABASES if self._suspected else 1
        works = all(self._writes(folder) for folder in itertools.islice(self._folders, count))
        self._suspected = not works
        return works

    def _has_room(self) -> bool:
        disk = shutil.disk_usage(self._data)
        return disk.free >= max(LEAST_FREE_BYTES, LEAST_FREE_SHARE * disk.total)

    def _writes(self, folder: str) -> bool:
        entry = f"{self._base}{folder}/check"
        try:
            answers = [self._http.request("PUT", entry, body=b"."), self._http.request("DELETE", entry)]
        except urllib3.exceptions.HTTPError:
            return True  # it is busy, or being stopped: that is not what a restart mends
        return all(answer.status < 300 for answer in answers)


def find_folders() -> list[str]:
    """One for each database: a folder's is the last byte of its path's MD5, modulo their number."""
    found: dict[int, str] = {}
    for number in itertools.count():
        path = f"/check/{number}"
        found.setdefault(hashlib.md5(path.encode(), usedforsecurity=False).digest()[-1] % DATABASES, path)
        if len(found) == DATABASES:
            return [found[each] for each in sorted(found)]
    raise AssertionError


def mend_indexes(weed: Path, data: Path) -> None:
    """Before it starts: `weed fix` reads a volume through, and writes its index."""
    for index in data.glob("*.idx"):
        if index.stat().st_size % INDEX_ENTRY_BYTES:
            collection, _, volume = index.stem.rpartition("_")
            command = [f"{weed}", "fix", f"-collection={collection}", f"-volumeId={volume}", "-ignoreError", f"{data}"]
            subprocess.run(command, check=False, capture_output=True)
