import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import botocore.exceptions
from local.embedded import run_store
from local.sink import Sink
from service import wait_for

from infra.local.disk_full import DATABASES, INDEX_ENTRY_BYTES, WriteCheck, find_folders

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def test_a_volume_with_a_truncated_index_is_available_after_a_restart(tmp_path: Path) -> None:
    with run_store(tmp_path) as s3:
        s3.create_bucket(Bucket="kept")
        for number in range(3):
            s3.put_object(Bucket="kept", Key=f"{number}", Body=b"kept %d" % number)
    [index] = (tmp_path / "seaweedfs/data").glob("kept_*.idx")
    assert index.stat().st_size % INDEX_ENTRY_BYTES == 0
    os.truncate(index, index.stat().st_size - 5)

    with run_store(tmp_path) as s3:
        wait_for(lambda: read_all(s3), lambda objects: objects == [b"kept 0", b"kept 1", b"kept 2"])


def read_all(s3: "S3Client") -> list[bytes]:
    """Read the objects. Empty while a busy machine's store has not loaded the volume yet."""
    try:
        return [s3.get_object(Bucket="kept", Key=f"{number}")["Body"].read() for number in range(3)]
    except botocore.exceptions.ClientError:
        return []


def test_the_check_passes_for_all_databases_of_a_store_that_can_write(store: dict[str, str], tmp_path: Path) -> None:
    assert len(set(find_folders())) == DATABASES
    check = WriteCheck(store, "us-east-1", tmp_path)

    assert all(check.can_write(folder) for folder in find_folders())
    assert check() is None


def test_the_check_fails_for_a_store_that_responds_but_cannot_write(
    make_sink: Callable[..., Sink], tmp_path: Path
) -> None:
    store = {"S3_ENDPOINT_URL": make_sink().url, "S3_ACCESS_KEY_ID": "key", "S3_SECRET_ACCESS_KEY": "secret"}

    assert WriteCheck(store, "us-east-1", tmp_path)() == "it rejects what is written", "the server does not accept PUT"
