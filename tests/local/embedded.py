"""Embedded services on a data directory of the test's own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from infra.local import ports, postgres, seaweedfs
from infra.local.manifests import KafkaSource
from infra.local.processes import Supervisor
from infra.local.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@contextmanager
def supervise(data: Path) -> Iterator[tuple[Supervisor, Settings]]:
    """Yield a supervisor and the settings of a run. What it started is stopped at the end."""
    [port] = ports.free_ports(1)
    settings = Settings(port=min(port, 60_000), data_dir=data, inherited=dict(os.environ))
    with (data / "lock").open("w") as lock:
        supervisor = Supervisor(lock)
        try:
            yield supervisor, settings
        finally:
            supervisor.stop()


def start_store(supervisor: Supervisor, settings: Settings) -> dict[str, str]:
    [webhook] = ports.free_ports(1)
    log = settings.data_dir / "seaweedfs.log"
    return seaweedfs.start(supervisor, settings, log, seaweedfs.Webhook(webhook, "token"))


def connect_store(store: dict[str, str]) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=store["S3_ENDPOINT_URL"],
        aws_access_key_id=store["S3_ACCESS_KEY_ID"],
        aws_secret_access_key=store["S3_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )


@contextmanager
def run_store(data: Path) -> Iterator["S3Client"]:
    with supervise(data) as (supervisor, settings):
        yield connect_store(start_store(supervisor, settings))


REFERENCE = {"apiVersion": "serving.knative.dev/v1", "kind": "Service"}


def make_kafka_source(topic: str, **spec: object) -> KafkaSource:
    return KafkaSource.model_validate(
        {
            "apiVersion": "sources.knative.dev/v1",
            "kind": "KafkaSource",
            "metadata": {"name": "source"},
            "spec": {
                "bootstrapServers": [],
                "topics": [topic],
                "consumerGroup": f"group-of-{topic}",
                "initialOffset": "earliest",
                "sink": {"ref": REFERENCE | {"name": "sink"}},
                **spec,
            },
        }
    )


@contextmanager
def run_another_program() -> Iterator[int]:
    """Run a program that is no PostgreSQL, as PostgreSQL's user. Yield its process ID."""
    process = subprocess.Popen(["sleep", "3600"], user=postgres.OTHER_USER if os.geteuid() == 0 else None)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
