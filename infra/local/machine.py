"""Start everything on one machine, in order.

First the services, all at the same time. Then the bootstrap job, which creates tables, buckets and topics. Then the
functions and their event sources.
"""

import json
import secrets
import shlex
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from infra.local import edge, ports, postgres, seaweedfs, state_files, tansu, terminal
from infra.local.event_report import find_broker_fault, find_stuck
from infra.local.manifests import ROOT, Manifests
from infra.local.plan import Plan
from infra.local.processes import Program, Supervisor, Tier
from infra.local.seaweedfs import Webhook
from infra.local.settings import CannotStart, Settings

FUNCTIONS, ROUTES = ROOT / "infra/knative", ROOT / "infra/k8s/routes"
GATEWAY_POOL_SIZE = "16"  # shared by all public functions, so that eight uploads at a time leave some to the others
CONSUMERS_POOL_SIZE = "2"  # as in `process-image`. The other functions seldom work
DATABASE_URLS = ("DATABASE_URL", *(f"DATABASE_{role.upper()}_URL" for role in postgres.OTHER_ROLES))
STORE_KEYS = tuple(
    f"S3_{owner}{part}"
    for owner in ("", "PRESIGN_", "API_", "WORKER_")
    for part in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
)
SERVICE_VARIABLES = (
    *DATABASE_URLS,
    "S3_ENDPOINT_URL",
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY",
    "KAFKA_BOOTSTRAP_SERVERS",
    "AUTH_MODE",
)
# Without credentials only this machine's user reaches the service: all images are theirs, as good as one tenant's.
IMAGES_PER_WORKER = "64"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104  a possible value of HOST
GRACEFUL_SECONDS = 3  # for requests in flight when stopping


def start(settings: Settings, supervisor: Supervisor) -> None:
    """Start everything, and return when the API is ready."""
    began = time.monotonic()
    manifests = _manifests()
    terminal.print_line(f"Starting, with data in {settings.data_dir}")
    ports.reserve(settings.port)
    if settings.edge_cache:
        edge.find_nginx(settings.inherited.get("PATH", ""))  # now, and not after everything else has started
    [webhook_port] = ports.free_ports(1)
    webhook = Webhook(webhook_port, secrets.token_urlsafe(32))
    environ = {
        "LOG_FORMAT": "console",
        "HTTP_PUBLIC_BASE_URL": _base_url(settings),
        "HTTP_TRUSTED_PROXIES": "1",  # the front door
        # Only Linux has Landlock and seccomp. Elsewhere the processor would otherwise decode nothing.
        "PROCESSING_SANDBOX": "required" if sys.platform == "linux" else "best-effort",
        "PROCESSING_IMAGES_PER_WORKER": "1" if settings.needs_credentials else IMAGES_PER_WORKER,
        **settings.inherited,
        "AUTH_MODE": "required" if settings.needs_credentials else "anonymous",
        "PYTHONUNBUFFERED": "1",
        **start_services(settings, supervisor, webhook),
    }
    with terminal.step("migrations, buckets, topics"):
        command = [sys.executable, "-m", "shared_lib.commands.bootstrap"]
        supervisor.run(Program("bootstrap", Tier.FUNCTION, command, environ, cwd=ROOT))
    with terminal.step(f"{len(manifests.services)} functions and their sources"):
        _start_functions(settings, supervisor, environ, webhook)
    _write_environment(settings.data_dir / "environment", environ)
    _print_addresses(settings, environ, time.monotonic() - began)


def _manifests() -> Manifests:
    manifests = Manifests.read(FUNCTIONS, ROUTES)
    for service in manifests.services:
        if not service.source.exists():
            raise CannotStart(f"infra/knative has {service.name}, but {service.source} does not exist.")
    consumers = {service.name for service in manifests.services if service.takes_events}
    for sink in manifests.sinks:
        if sink.ref.name not in consumers:
            raise CannotStart(
                f"infra/knative has a source with the sink {sink.ref.name}, but no such Service of component `events`."
            )
    return manifests


def start_services(settings: Settings, supervisor: Supervisor, webhook: Webhook) -> dict[str, str]:
    """Start every service whose address is not set. Return the variables with the addresses."""
    logs = settings.data_dir / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    with ThreadPoolExecutor() as pool:
        store_and_broker = pool.submit(_start_store_and_broker, settings, supervisor, logs, webhook)
        database: dict[str, str] = {}
        if not settings.database_url:
            with terminal.step("PostgreSQL"):
                database = postgres.start(supervisor, settings, _rotate(logs / "postgres.log"))
        return database | store_and_broker.result()


def _start_store_and_broker(settings: Settings, supervisor: Supervisor, logs: Path, webhook: Webhook) -> dict[str, str]:
    store = {
        "S3_ENDPOINT_URL": settings.s3_endpoint_url or "",
        "S3_ACCESS_KEY_ID": settings.s3_access_key_id or "",
        "S3_SECRET_ACCESS_KEY": settings.s3_secret_access_key or "",
    }
    if not settings.s3_endpoint_url:
        with terminal.step("S3 (SeaweedFS)"):
            store = seaweedfs.start(supervisor, settings, _rotate(logs / "seaweedfs.log"), webhook)
    broker: dict[str, str] = {}
    if not settings.kafka_bootstrap_servers:
        with terminal.step("Kafka (Tansu)"):
            log = _rotate(logs / "tansu.log")
            broker = tansu.start(supervisor, settings, log, store, partial(find_broker_fault, webhook.port))
    return store | broker


def _rotate(log: Path) -> Path:
    """Keep the log of the last run only."""
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    return log


def _start_functions(settings: Settings, supervisor: Supervisor, environ: dict[str, str], webhook: Webhook) -> None:
    """Start one process for all public functions, one for those that take events, and one for the event sources."""
    [consumers_port] = ports.free_ports(1)
    plan = Plan(
        manifests=FUNCTIONS,
        bootstrap_servers=environ.get("KAFKA_BOOTSTRAP_SERVERS", ""),
        service_url=f"http://{ports.LOOPBACK}:{consumers_port}/{{name}}",
        webhook_port=webhook.port,
    )
    gateway = {**environ, **_serving(settings.host, settings.port), "EVENTING_PORT": f"{webhook.port}"}
    front = []
    if settings.edge_cache:
        [gateway_port], token = ports.free_ports(1), secrets.token_urlsafe(32)
        gateway |= {"EDGE_TOKEN": token, "PURGES_URL": f"http://{ports.LOOPBACK}:{consumers_port}{edge.PURGES}"}
        gateway |= _serving(ports.LOOPBACK, gateway_port)
        log = _rotate(settings.data_dir / "logs/nginx.log")
        front = [edge.make_program(settings, gateway_port, token, log)]
        environ = {**environ, "PURGE_CACHES": _add_cache(environ, edge.find_folder(settings) / edge.RENDITIONS)}
    programs = [
        _consumers(consumers_port, environ),
        _gateway(gateway),
        Program(
            name="eventing",
            tier=Tier.EVENTING,
            argv=[sys.executable, "-m", "infra.local.eventing", plan.model_dump_json()],
            environ={**_without_secrets(environ), "S3_ENDPOINT_URL": "", "WEBHOOK_TOKEN": webhook.token},
            is_ready=lambda _pid: ports.responds_to_http(webhook.port),
            find_fault=partial(find_stuck, webhook.port),
            cwd=ROOT,
        ),
        *front,
    ]
    with ThreadPoolExecutor(len(programs)) as pool:
        list(pool.map(supervisor.start, programs))


def _serving(host: str, port: int) -> dict[str, str]:
    """Return the settings of a server process: those of its container, but with less time to stop."""
    return {"HOST": host, "PORT": f"{port}", "GRACEFUL_SECONDS": f"{GRACEFUL_SECONDS}"}


def _connecting(environ: dict[str, str], role: str, keys: str) -> dict[str, str]:
    """Return the environment of a function: it knows only the URL with its own role, and its own keys of the store."""
    own = {"DATABASE_URL": environ.get(f"DATABASE_{role}_URL") or environ["DATABASE_URL"]}
    for part in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        own[f"S3_{part}"] = environ.get(f"S3_{keys}_{part}") or environ[f"S3_{part}"]
    return _without_secrets(environ) | own


def _without_secrets(environ: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in (*DATABASE_URLS, *STORE_KEYS)}


def _consumers(port: int, environ: dict[str, str]) -> Program:
    return Program(
        name="consumers",
        tier=Tier.FUNCTION,
        argv=[sys.executable, "-m", "infra.local.consumers"],
        environ={
            "DATABASE_POOL_SIZE": CONSUMERS_POOL_SIZE,
            **_connecting(environ, "RECONCILER", "WORKER"),
            **_serving(ports.LOOPBACK, port),
        },
        is_ready=lambda _pid: ports.responds_to_http(port),
        find_fault=partial(ports.find_fault, port),
        cwd=ROOT,
    )


def _gateway(environ: dict[str, str]) -> Program:
    host, port = environ["HOST"], int(environ["PORT"])
    return Program(
        name="api",
        tier=Tier.GATEWAY,
        argv=[sys.executable, "-m", "infra.local.gateway"],
        environ={
            "DATABASE_POOL_SIZE": GATEWAY_POOL_SIZE,
            **_connecting(environ, "FRONT", "API"),
            **{name: environ[name] for name in STORE_KEYS if "PRESIGN" in name and name in environ},
        },
        is_ready=lambda _pid: ports.responds_to_http(port, host, "/api/health/live"),
        find_fault=partial(ports.find_fault, port, host, "/api/health/live"),
        cwd=ROOT,
    )


def _add_cache(environ: dict[str, str], folder: Path) -> str:
    """Return the caches that have to forget what is deleted, and nginx's folder among them."""
    return json.dumps(
        [*json.loads(environ.get("PURGE_CACHES") or "[]"), {"kind": "nginx-folder", "folder": f"{folder}"}]
    )


def _base_url(settings: Settings) -> str:
    """Return the API's address for clients."""
    host = {ports.LOOPBACK: "localhost", ANY_ADDRESS: ports.find_own_address()}.get(settings.host, settings.host)
    return f"http://{host}:{settings.port}"


def _write_environment(path: Path, environ: dict[str, str]) -> None:
    """Write the services' addresses and credentials to a file, for psql, S3 clients, commands and tests."""
    lines = [f"{name}={shlex.quote(environ[name])}\n" for name in SERVICE_VARIABLES if name in environ]
    state_files.write(path, "".join(lines))


def _print_addresses(settings: Settings, environ: dict[str, str], seconds: float) -> None:
    base = environ["HTTP_PUBLIC_BASE_URL"]
    credentials = "as set" if settings.s3_endpoint_url else f"credentials in {settings.data_dir / 's3.ini'}"
    terminal.print_line(
        f"\nReady after {seconds:.1f} s\n\n"
        f"  Gallery     {base}\n"
        f"  API         {base}/api/v1\n"
        f"  Swagger UI  {base}/api-docs/\n"
        f"  S3          {environ['S3_ENDPOINT_URL']}  ({credentials})\n"
        f"  Data, logs  {settings.data_dir}  (addresses of the services in `environment`)\n\n"
        "Ctrl-C stops everything.\n"
    )
    if settings.needs_credentials:
        environment = shlex.quote(f"{settings.data_dir / 'environment'}")
        terminal.print_line(
            "Callers need an API key or a token. This makes a key that may do everything:\n\n"
            f"  set -a; . {environment}; set +a; make api-key name=me role=admin\n"
        )
    if not settings.is_private:
        terminal.print_line(
            "Presigned URLs only work on this machine, as its store only listens on it. Elsewhere, upload directly.\n"
        )
