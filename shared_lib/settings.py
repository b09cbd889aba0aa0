"""The only reader of the environment: one frozen, validated tree, one branch a concern.

Each field is one environment variable: the branch's prefix and the field's name (`S3_` + `endpoint_url` =
`S3_ENDPOINT_URL`). No secret has a default.
"""

import json
from functools import cache
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared_lib import limits
from shared_lib.addresses import check_certificates, check_http_url, check_servers, read_database_url

Seconds = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]
FORM_OVERHEAD = 64 * 1024  # bytes of a form around its file: boundaries, headers and the small fields


def _split(text: object) -> object:
    return tuple(filter(None, map(str.strip, text.split(",")))) if isinstance(text, str) else text


def _read_json(text: object) -> object:
    return json.loads(text) if isinstance(text, str) else text


def _check_database_url(url: SecretStr) -> SecretStr:
    read_database_url(url.get_secret_value())
    return url


HttpUrl = Annotated[str, AfterValidator(check_http_url)]
CertificateFile = Annotated[str, AfterValidator(check_certificates)]
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]

Risk = Literal[
    "anonymous-read", "anonymous-list", "anonymous-write", "copy-source", "other-key", "other-method", "expired-url"
]
"""What a store may fail to refuse that is unsafe: the checks of `store_probe` that end a bootstrap."""


class InvalidSettings(Exception):
    """One sentence per wrong or missing variable, naming it, what it holds and what it should hold."""


class Branch(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True)


class Database(Branch):
    """PostgreSQL 15 or newer."""

    model_config = SettingsConfigDict(env_prefix="DATABASE_")

    url: Annotated[SecretStr, AfterValidator(_check_database_url)]
    """
    `postgresql://user:password@host:port/name`; a Unix socket's directory goes in `?host=`. `?sslmode=` is libpq's:
    `disable`, `prefer` (default), `require`, `verify-ca`, `verify-full`, with `&sslrootcert=FILE` or the system's.
    """
    connect_timeout_seconds: Seconds = 5
    statement_timeout_seconds: Seconds = 5
    """After this long the server itself cancels a statement; a second later the database counts as out of reach."""
    pool_size: int = Field(default=4, ge=1)
    """Connections of one process at most. Requests beyond them wait for one as long as a statement may take."""


class Store(Branch):
    """Any S3: MinIO, RustFS, SeaweedFS, AWS."""

    model_config = SettingsConfigDict(env_prefix="S3_")

    endpoint_url: HttpUrl
    public_endpoint_url: HttpUrl | None = None
    """What presigned URLs name, where clients reach the store under another address than the functions do."""
    access_key_id: SecretStr | None = None
    """Unset, with its secret: what the AWS SDK finds by itself, as a pod's web identity (IRSA)."""
    secret_access_key: SecretStr | None = None
    presign_access_key_id: SecretStr | None = None
    """A key pair of its own for upload URLs, that may only put into the inbox. Unset: the one above signs them."""
    presign_secret_access_key: SecretStr | None = None
    region: str = "us-east-1"
    upload_bucket: str = "upload-images"
    completed_bucket: str = "completed-images"
    notification_arn: str | None = None
    """The store's Kafka target, e.g. `arn:minio:sqs::PRIMARY:kafka`. Unset: notifications are not bootstrap's job."""
    sends_notifications: bool | None = None
    """Whether the store tells Kafka of uploads. Unset: if it has an ARN. If not, a direct upload's own event does."""
    cors_allow_origins: CommaSeparated = ()
    """Origins of web pages that may put to upload URLs. Unset: the bucket's CORS rules are left as they are."""
    accepted_risks: Annotated[tuple[Risk, ...], NoDecode, BeforeValidator(_split)] = ()
    """What the store need not refuse for bootstrap to go on."""
    timeout_seconds: Seconds = 10

    @property
    def notifies(self) -> bool:
        return bool(self.notification_arn) if self.sends_notifications is None else self.sends_notifications

    @model_validator(mode="after")
    def a_key_has_its_secret(self) -> Self:
        for name in ("", "presign_"):
            if bool(getattr(self, f"{name}access_key_id")) != bool(getattr(self, f"{name}secret_access_key")):
                prefix = f"S3_{name}".upper()
                raise ValueError(f"{prefix}ACCESS_KEY_ID and {prefix}SECRET_ACCESS_KEY come together")
        return self


class Kafka(Branch):
    """Any broker that speaks Kafka's protocol."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_")

    bootstrap_servers: Annotated[str, AfterValidator(check_servers)]
    sasl_username: SecretStr | None = None
    sasl_password: SecretStr | None = None
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    ca_file: CertificateFile | None = None
    """Whose word makes a broker's certificate good, as a PEM file. Unset: the system's authorities."""
    publish_timeout_seconds: Seconds = 5
    """The longest that a request waits for Kafka; past it the row alone carries the news."""
    partitions: int = Field(default=12, ge=1)
    """How many partitions bootstrap gives a topic: the ceiling for Kafka consumers in one group."""
    replication_factor: int = Field(default=1, ge=1)
    retention_days: int = Field(default=7, ge=1)
    """How long bootstrap has topics keep events, and with them filenames and object keys: at most a day longer."""

    @field_validator("security_protocol")
    @classmethod
    def sasl_takes_credentials(cls, protocol: str, others: ValidationInfo) -> str:
        if protocol.startswith("SASL") and not (others.data.get("sasl_username") and others.data.get("sasl_password")):
            raise ValueError("SASL takes KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD")
        return protocol


class Http(Branch):
    """What callers see."""

    model_config = SettingsConfigDict(env_prefix="HTTP_")

    public_base_url: HttpUrl | None = None
    """Scheme and host of absolute links, and the API's own origin. Unset: links have neither."""
    cors_allow_origins: CommaSeparated = ()
    """The origins whose pages may use the API besides its own: comma-separated, or `*` for all."""


class Processing(Branch):
    """How uploads are taken in and worked on."""

    model_config = SettingsConfigDict(env_prefix="PROCESSING_")

    max_upload_bytes: Bytes = 10 * 1024 * 1024
    """Of a direct upload; the contract's 10 MB. Of what is put straight into the store it is `LIMITS_MAX_BYTES`."""
    upload_url_seconds: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] = 900
    """How long a presigned URL lives; SigV4 allows a week at most."""
    lease_seconds: Seconds = 20
    """A worker that has been silent for this long has lost its image. It renews at a third of it."""
    max_attempts: int = Field(default=8, ge=1)
    """Attempts that may break off before the image is failed. Those that an outage broke off do not count."""
    max_abnormal_attempts: int = Field(default=3, ge=1)
    """Attempts that may end in a dead decoder or a dead worker before the image is failed."""
    presets: Annotated[dict[str, dict[str, Any]], NoDecode, BeforeValidator(_read_json)] = {}
    """Recipes by name, as JSON: `{"banner": {"operations": […], "output": {…}}}`. They join the built-in ones."""
    default_presets: CommaSeparated = ()
    """Presets that every image gets, besides its thumbnail."""
    keep_location: bool = False
    """Whether to keep where a picture was taken, for those who ask for it, and in renditions that keep metadata."""
    decoders: int = Field(default=2, ge=1)
    """Images that a processor decodes at a time: one per core it may use."""
    sandbox: Literal["required", "best-effort"] = "required"
    """What to do where the kernel cannot confine a decoder: decode nothing, or go on with what protection there is."""
    pending_grace_seconds: Seconds = 30
    """How long an event may take before `reconcile_images` looks for itself."""
    missing_object_seconds: Seconds = 3600
    """How long a pending row waits for an object that is not in the store before it is failed."""
    retention_days: int = Field(default=7, ge=1)
    """How long the inbox keeps a failed image's original, and the database the trace of a deleted one."""
    dead_letter_days: int = Field(default=30, ge=1)
    """How long the database keeps events that could not be delivered. A deleted image's go with it."""

    @field_validator("retention_days")
    @classmethod
    def a_trace_outlives_its_url(cls, days: int, others: ValidationInfo) -> int:
        if days * 24 * 3600 < others.data.get("upload_url_seconds", 0):
            raise ValueError("must be at least as long as PROCESSING_UPLOAD_URL_SECONDS")
        return days


class Reconciliation(Branch):
    """What a tick of `reconcile_images` may spend. What it does not reach, the next one does."""

    model_config = SettingsConfigDict(env_prefix="RECONCILIATION_")

    seconds: Annotated[float, Field(gt=0, le=240)] = 45
    """Less than the minute between two ticks. Only one slow request to the store may take it further."""
    rows: int = Field(default=10_000, ge=1)
    """Rows or objects that each step looks at."""


class Limits(Branch, limits.Limits):
    """The plain dataclass' fields, read and checked like any other branch's."""

    model_config = SettingsConfigDict(env_prefix="LIMITS_")

    @field_validator("cpu_seconds")
    @classmethod
    def spins_no_longer_than_it_may_take(cls, seconds: int, others: ValidationInfo) -> int:
        if seconds > others.data.get("wall_seconds", seconds):
            raise ValueError("must be at most LIMITS_WALL_SECONDS")
        return seconds


class Log(Branch):
    model_config = SettingsConfigDict(env_prefix="LOG_")

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Serving(Branch):
    """How a process serves its function: what its platform sets, and nobody else. No part of `Settings`."""

    host: str = "0.0.0.0"  # noqa: S104  a container's, for Knative reaches it from the pod's own queue-proxy
    port: int = Field(default=8080, ge=0, le=65535)
    threads: int = Field(default=16, ge=1)
    """How many requests are worked on at a time: the Service's containerConcurrency."""
    graceful_seconds: int = Field(default=600, ge=0)
    """
    How long requests may take to end when the process is asked to stop. The platform's own patience counts too: a pod
    has its termination grace period, which Knative makes as long as the Service's timeoutSeconds.
    """


class Settings(BaseModel, frozen=True):
    """Everything a function is told. `load()` builds it once for a process."""

    database: Database
    store: Store
    kafka: Kafka
    http: Http
    processing: Processing
    reconciliation: Reconciliation
    limits: Limits
    log: Log


BRANCHES: dict[str, type[Branch]] = {
    name: cast("type[Branch]", field.annotation) for name, field in Settings.model_fields.items()
}


@cache
def load() -> Settings:
    """
    Read the environment.

    Raises InvalidSettings, which names every variable that is missing or wrong, and never a value: it may be secret.
    """
    branches, complaints = {}, []
    for name, branch in BRANCHES.items():
        try:
            branches[name] = branch()
        except ValidationError as error:
            prefix = branch.model_config["env_prefix"]
            complaints += [f"{prefix}{e['loc'][0]}".upper() + f": {e['msg']}" for e in error.errors()]
    if complaints:
        raise InvalidSettings("The environment is not complete: " + "; ".join(complaints))
    return Settings(**branches)
