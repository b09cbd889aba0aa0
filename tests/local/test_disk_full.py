import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import botocore.exceptions
from local.sink import Sink
from service import wait_for

from infra.local import ports, seaweedfs
from infra.local.disk_full import DATABASES, INDEX_ENTRY_BYTES, WriteCheck, find_folders
from infra.local.processes import Program, Supervisor, Tier
from infra.local.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@contextmanager
def run_store(data: Path) -> Iterator["S3Client"]:
    [port, webhook] = ports.free_ports(2)
    settings = Settings(port=min(port, 60_000), data_dir=data, inherited=dict(os.environ))
    with (data / "lock").open("w") as lock:
        supervisor = Supervisor(lock)
        try:
            store = seaweedfs.start(supervisor, settings, data / "seaweedfs.log", seaweedfs.Webhook(webhook, "token"))
            yield boto3.client(
                "s3",
                endpoint_url=store["S3_ENDPOINT_URL"],
                aws_access_key_id=store["S3_ACCESS_KEY_ID"],
                aws_secret_access_key=store["S3_SECRET_ACCESS_KEY"],
                region_name="us-east-1",
            )
        finally:
            supervisor.stop()


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
    assert check()


def test_the_check_fails_for_a_store_that_responds_but_cannot_write(
    make_sink: Callable[..., Sink], tmp_path: Path
) -> None:
    store = {"S3_ENDPOINT_URL": make_sink().url, "S3_ACCESS_KEY_ID": "key", "S3_SECRET_ACCESS_KEY": "secret"}

    assert not WriteCheck(store, "us-east-1", tmp_path)(), "the server does not accept PUT"


def test_a_process_that_fails_its_health_check_is_restarted(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    healthy = tmp_path / "healthy"
    healthy.touch()
    with (tmp_path / "lock").open("w") as lock:
        supervisor = Supervisor(lock)
        program = Program(
            name="stuck",
            tier=Tier.STORE,
            argv=["/bin/sh", "-c", f"echo >> {starts}; exec sleep 1000"],
            environ=dict(os.environ),
            is_ready=lambda _pid: starts.exists(),
            is_healthy=healthy.exists,
            check_seconds=0.2,
        )
        supervisor.start(program)
        healthy.unlink()
        try:
            wait_for(lambda: len(starts.read_text()), lambda count: count >= 2)
        finally:
            supervisor.stop()
