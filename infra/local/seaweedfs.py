"""Run an S3 server from its wheel: SeaweedFS, with a key pair for each component and a webhook for uploads."""

import io
import json
import secrets
import sys
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

from infra.local import ports, state_files
from infra.local.disk_full import WriteCheck, repair_indexes
from infra.local.processes import Program, Supervisor, Tier
from infra.local.settings import CannotStart, Settings

_PORT_FLAGS = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"),
    *("s3.port", "s3.port.grpc", "admin.port"),
)
POLICIES = Path(__file__).parents[1] / "k8s/components/minio/policies"
_BUCKETS = {"upload-images": "s3_upload_bucket", "completed-images": "s3_completed_bucket"}
"""Those that the policies name, and the settings that may name others."""
_VARIABLES = {"presigner": "S3_PRESIGN", "api": "S3_API", "worker": "S3_WORKER"}
"""Beginnings of the variables with the key pair of a component. One process serves the API and delivery here."""
_ADMIN_GRPC_OFFSET = 10_000  # its maintenance worker expects the admin server there, regardless of the flags


class _KeyPair(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    access_key: str
    secret_key: str


class _Identity(BaseModel):
    name: str
    credentials: tuple[_KeyPair]


class _Kept(BaseModel):
    """The part of the file with the identities that has to stay."""

    identities: list[_Identity] = []


class Webhook(NamedTuple):
    """The receiver of change notifications: a port on this machine, and the bearer token."""

    port: int
    token: str


def start(supervisor: Supervisor, settings: Settings, log: Path, webhook: Webhook) -> dict[str, str]:
    """Start it on `DATA_DIR/seaweedfs`. Return the variables with its address and credentials."""
    executable = Path(sys.executable).with_name("weed")
    if not executable.exists():
        raise CannotStart(
            "There is no embedded S3 server for this platform: set S3_ENDPOINT_URL, S3_ACCESS_KEY_ID and "
            "S3_SECRET_ACCESS_KEY to one of your own."
        )
    folder = settings.data_dir / "seaweedfs"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    state_files.write(folder / "notification.toml", _notification(settings.s3_upload_bucket, webhook))
    chosen = _ports(folder / "listening.json", preferred_s3=settings.port + 4000)
    endpoint = f"http://{ports.LOOPBACK}:{chosen['s3.port']}"
    key, secret = _credentials(settings.data_dir / "s3.ini", endpoint, settings.s3_region)
    identities = folder / "identities.json"
    store = {
        "S3_ENDPOINT_URL": endpoint,
        "S3_ACCESS_KEY_ID": key,
        "S3_SECRET_ACCESS_KEY": secret,
        **_write_identities(identities, settings),
    }
    supervisor.start(
        Program(
            name="seaweedfs",
            tier=Tier.STORE,
            argv=[
                f"{executable}",
                "mini",
                *_flags(folder / "data", supervisor.scratch, chosen),
                f"-s3.config={identities}",
            ],
            environ={
                **settings.inherited,
                **_volume_keys(),
                "AWS_ACCESS_KEY_ID": key,
                "AWS_SECRET_ACCESS_KEY": secret,
            },
            is_ready=lambda _pid: ports.responds_to_http(chosen["s3.port"]),
            prepare=lambda: repair_indexes(executable, folder / "data"),
            find_fault=WriteCheck(store, settings.s3_region, folder),
            check_seconds=5.0,
            cwd=folder,
            # Its volume server waits half a minute for unused connections. A kill is safe: its files are append-only.
            grace_seconds=4.0,
            files=_sockets(chosen),
            log=log,
        )
    )
    return store


def _flags(data: Path, scratch: Path, chosen: dict[str, int]) -> list[str]:
    return [
        f"-dir={data}",
        f"-ip={ports.LOOPBACK}",
        f"-ip.bind={ports.LOOPBACK}",
        *(f"-{flag}={port}" for flag, port in chosen.items()),
        f"-filer.localSocket={scratch / 'filer.sock'}",
        f"-s3.localSocket={scratch / 's3.sock'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
        # Only the S3 server authenticates callers. Over HTTP, any web page and any user of this machine could list,
        # change and delete everything through the master and the filer. So those only speak gRPC.
        "-disableHttp",
        "-master.telemetry=false",
        "-volume.preStopSeconds=0",
    ]


def _volume_keys() -> dict[str, str]:
    """Return keys for the volume server. Its HTTP stays on for S3, and without a key nobody else can use it."""
    return {f"WEED_JWT_SIGNING{use}_KEY": secrets.token_urlsafe(32) for use in ("", "_READ")}


def _sockets(chosen: dict[str, int]) -> list[Path]:
    """Return its sockets, one for each gRPC port. It does not delete them if it is killed."""
    grpc = {flag.split(".")[0]: port for flag, port in chosen.items() if flag.endswith(".grpc")}
    return [Path(f"/tmp/seaweedfs-{server}-grpc-{port}.sock") for server, port in grpc.items()]  # noqa: S108  SeaweedFS chooses the path


def _notification(bucket: str, webhook: Webhook) -> str:
    return f"""\
# Written at each start.
[notification.webhook]
enabled = true
endpoint = "http://{ports.LOOPBACK}:{webhook.port}/"
bearer_token = "{webhook.token}"
event_types = ["create", "update"]
path_prefixes = ["/buckets/{bucket}/"]
"""


def _ports(remembered: Path, preferred_s3: int) -> dict[str, int]:
    """Reuse the ports of the last start if all are free, so that presigned URLs survive a restart."""
    last = state_files.read(remembered, TypeAdapter(dict[str, int])) or {}
    if last.keys() >= set(_PORT_FLAGS) and all(map(ports.is_free, last.values())):
        return last
    preferred_s3 = last.get("s3.port", preferred_s3)
    chosen = dict(zip(_PORT_FLAGS, ports.free_ports(len(_PORT_FLAGS)), strict=True))
    while not ports.reserve(chosen["admin.port"] + _ADMIN_GRPC_OFFSET):
        [chosen["admin.port"]] = ports.free_ports(1)
    chosen["admin.port.grpc"] = chosen["admin.port"] + _ADMIN_GRPC_OFFSET
    if ports.is_free(preferred_s3):
        chosen["s3.port"] = preferred_s3
    state_files.write(remembered, json.dumps(chosen))
    return chosen


def _write_identities(path: Path, settings: Settings) -> dict[str, str]:
    """Give each component a key pair that may do what its policy says. The pairs stay, so that presigned URLs do.

    Return the variables with them. `_credentials` makes the one that may do everything.
    """
    kept = state_files.read(path, TypeAdapter(_Kept)) or _Kept()
    pairs = {each.name: each.credentials[0] for each in kept.identities}
    policies, identities = [], []
    for file in sorted(POLICIES.glob("*.json")):
        component, policy = file.stem, file.read_text()
        for name, setting in _BUCKETS.items():
            policy = policy.replace(f":::{name}", f":::{getattr(settings, setting)}")
        policies.append({"name": component, "content": policy})
        new = _KeyPair(access_key=secrets.token_hex(10), secret_key=secrets.token_urlsafe(30))
        pair = pairs.setdefault(component, new).model_dump(by_alias=True)
        identities.append({"name": component, "credentials": [pair], "policyNames": [component]})
    state_files.write(path, json.dumps({"identities": identities, "policies": policies}, indent=1))
    return {
        f"{variable}_{part}": getattr(pairs[component], name)
        for component, variable in _VARIABLES.items()
        for part, name in (("ACCESS_KEY_ID", "access_key"), ("SECRET_ACCESS_KEY", "secret_key"))
    }


def _credentials(path: Path, endpoint: str, region: str) -> tuple[str, str]:
    """Create credentials once, in a file for AWS's tools: `AWS_CONFIG_FILE=.data/s3.ini aws s3 ls`."""
    config = _read_config(path)
    kept = dict(config["default"]) if config.has_section("default") else {}
    key = kept.get("aws_access_key_id") or secrets.token_hex(10)
    secret = kept.get("aws_secret_access_key") or secrets.token_urlsafe(30)
    config["default"] = {
        "aws_access_key_id": key,
        "aws_secret_access_key": secret,
        "region": region,
        "endpoint_url": endpoint,
    }
    text = io.StringIO()
    config.write(text)
    state_files.write(path, text.getvalue())
    return key, secret


def _read_config(path: Path) -> ConfigParser:
    config = ConfigParser()
    try:
        config.read(path)
    except (ConfigParserError, UnicodeDecodeError):
        state_files.report_damage(path)
        return ConfigParser()
    return config
