"""Find and mend what a full disk does to an embedded SeaweedFS, which answers as before.

It may refuse writes ever after, until it is started again. Its filer keeps entries in eight databases, by the folder
that they are in, and each may be stuck by itself: so there is a folder for each, in a bucket of its own, and the check
writes and removes an object of one byte in it. And a volume whose index was cut off in the middle of an entry is not
loaded at the next start, with all objects in it: so its index is written anew before, from the volume itself.
"""

import hashlib
import itertools
import shutil
import subprocess
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "write-check"  # made by the first write
DATABASES = 8  # of weed's filer: `leveldb2`
EVERY_SECONDS = 30.0  # while nothing is the matter: one database
ANSWER_SECONDS = 5.0
# It makes its volumes read-only with less than 1 % free, and a restart would not change that.
LEAST_FREE_BYTES, LEAST_FREE_SHARE = 64 * 2**20, 0.02
INDEX_ENTRY_BYTES = 17  # of the builds for large disks, as the wheel's is: 8 of the key, 5 of the place, 4 of the size


class WriteCheck:
    def __init__(self, store: Mapping[str, str], region: str, data: Path) -> None:
        """`store` holds the variables that lead to it."""
        self._store = store
        self._region = region
        self._data = data
        self._folders = itertools.cycle(find_folders())
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
        works = all(self.writes(folder) for folder in itertools.islice(self._folders, count))
        self._suspected = not works
        return works

    def _has_room(self) -> bool:
        disk = shutil.disk_usage(self._data)
        return disk.free >= max(LEAST_FREE_BYTES, LEAST_FREE_SHARE * disk.total)

    def writes(self, folder: str) -> bool:
        """True if it takes an object there, or does not say."""
        import botocore.exceptions  # noqa: PLC0415 - a quarter of a second, spent while nobody waits

        try:
            self._client.put_object(Bucket=BUCKET, Key=f"{folder}/check", Body=b".")
            self._client.delete_object(Bucket=BUCKET, Key=f"{folder}/check")
        except botocore.exceptions.ClientError as error:
            status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
            return status < 500
        except botocore.exceptions.BotoCoreError:
            return True  # it is busy, or being stopped: that is not what a restart mends
        return True

    @cached_property
    def _client(self) -> "S3Client":
        import boto3  # noqa: PLC0415 - (same)
        from botocore.config import Config  # noqa: PLC0415 - (same)

        return boto3.client(
            "s3",
            endpoint_url=self._store["S3_ENDPOINT_URL"],
            aws_access_key_id=self._store["S3_ACCESS_KEY_ID"],
            aws_secret_access_key=self._store["S3_SECRET_ACCESS_KEY"],
            region_name=self._region,
            config=Config(
                s3={"addressing_style": "path"},
                connect_timeout=ANSWER_SECONDS,
                read_timeout=ANSWER_SECONDS,
                retries={"total_max_attempts": 1},
            ),
        )


def find_folders() -> list[str]:
    """Of the bucket, one for each database: a folder's is the last byte of its path's MD5, modulo their number."""
    found: dict[int, str] = {}
    for number in itertools.count():
        path = f"/buckets/{BUCKET}/{number}"
        found.setdefault(hashlib.md5(path.encode(), usedforsecurity=False).digest()[-1] % DATABASES, f"{number}")
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
