"""Detect and repair the damage that a full disk does to an embedded SeaweedFS, which still responds to requests.

It may reject writes from then on, until it is restarted. Its filer spreads entries over eight databases by their
folder, and each database can be stuck on its own. So the check has a bucket with one folder per database, and writes
and deletes an object of one byte in it.

A volume whose index ends in the middle of an entry is not loaded at the next start, nor are its objects. So the index
is rebuilt from the volume before the start.
"""

import hashlib
import itertools
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from shared_lib.errors import Misconfigured, RequestRejected, Unavailable
from shared_lib.settings import Store as StoreSettings
from shared_lib.storage.store import RETRIES, Store, StoreError

BUCKET = "write-check"  # created by the first write
DATABASES = 8  # of weed's filer: `leveldb2`
CHECK_SECONDS = 30.0  # between checks of one database while there is no problem
TIMEOUT_SECONDS = 5.0
# SeaweedFS makes its volumes read-only with less than 1 % free, and a restart would not change that.
MIN_FREE_BYTES, MIN_FREE_SHARE = 64 * 2**20, 0.02
INDEX_ENTRY_BYTES = 17  # in builds for large disks, like the wheel: 8 for the key, 5 for the offset, 4 for the size


def connect(store: Mapping[str, str], region: str, timeout_seconds: float, *, tries: int = 3) -> Store:
    """Return the store of the S3 variables `store`: endpoint and credentials."""
    settings = StoreSettings(
        endpoint_url=store["S3_ENDPOINT_URL"],
        access_key_id=SecretStr(store["S3_ACCESS_KEY_ID"]),
        secret_access_key=SecretStr(store["S3_SECRET_ACCESS_KEY"]),
        region=region,
        timeout_seconds=timeout_seconds,
    )
    return Store(settings, retries=RETRIES.new(total=tries - 1))


class WriteCheck:
    def __init__(self, store: Mapping[str, str], region: str, data: Path) -> None:
        """`store` has the S3 variables: endpoint and credentials."""
        self._store = connect(store, region, TIMEOUT_SECONDS)
        self._data = data
        self._folders = itertools.cycle(find_folders())
        self._suspected = False
        self._due = 0.0

    def __call__(self) -> str | None:
        """Return the fault if the store cannot write. Cheap enough for every few seconds. A full disk is no fault."""
        if not self._has_space():
            self._suspected = True
            return None
        if time.monotonic() < self._due and not self._suspected:
            return None
        self._due = time.monotonic() + CHECK_SECONDS
        count = DATABASES if self._suspected else 1
        healthy = all(self.can_write(folder) for folder in itertools.islice(self._folders, count))
        self._suspected = not healthy
        return None if healthy else "it rejects what is written"

    def _has_space(self) -> bool:
        disk = shutil.disk_usage(self._data)
        return disk.free >= max(MIN_FREE_BYTES, MIN_FREE_SHARE * disk.total)

    def can_write(self, folder: str) -> bool:
        """Return False only if the store rejects an object with a server error."""
        key = f"{folder}/check"
        try:
            self._store.send("PUT", BUCKET, key, body=b".")
            self._store.send("DELETE", BUCKET, key)
        except (Misconfigured, RequestRejected):
            return True
        except Unavailable as error:
            return not isinstance(error.__cause__, StoreError)  # busy or stopping: a restart would not help
        return True


def find_folders() -> list[str]:
    """Return one folder for each database: the last byte of the path's MD5, modulo the number of databases."""
    found: dict[int, str] = {}
    for number in itertools.count():
        path = f"/buckets/{BUCKET}/{number}"
        found.setdefault(hashlib.md5(path.encode(), usedforsecurity=False).digest()[-1] % DATABASES, f"{number}")
        if len(found) == DATABASES:
            return [found[each] for each in sorted(found)]
    raise AssertionError


def repair_indexes(weed: Path, data: Path) -> None:
    """Rebuild truncated indexes. Call before the start: `weed fix` reads a whole volume to write its index."""
    for index in data.glob("*.idx"):
        if index.stat().st_size % INDEX_ENTRY_BYTES:
            collection, _, volume = index.stem.rpartition("_")
            command = [f"{weed}", "fix", f"-collection={collection}", f"-volumeId={volume}", "-ignoreError", f"{data}"]
            subprocess.run(command, check=False, capture_output=True)
