"""Read the environment into one frozen, validated tree, with a branch for each concern. Nothing else reads it.

Each field is one environment variable, named by the branch's prefix and the field: `S3_` and `endpoint_url` make
`S3_ENDPOINT_URL`. No secret has a default.

A file of that name in the folder SECRETS_DIR is read instead of the variable. In production secrets come from files: a
process's environment is inherited by whatever it starts, and shown by many tools.
"""

import json
import os
import re
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from shared_lib import limits
from shared_lib.addresses import check_certificates, check_http_url, check_servers, is_loopback, read_database_url
from shared_lib.constraints import DEFAULT_TENANT, TENANT_ID

Seconds = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]
FORM_OVERHEAD = 64 * 1024  # bytes of a form around its file: boundaries, headers and the small fields


def _split(text: object) -> object:
    return tuple(filter(None, map(str.strip, text.split(",")))) if isinstance(text, str) else text


def _read_json(text: object) -> object:
    return json.loads(text) if isinstance(text, str) else text


def _write(default: object) -> str:
    """Return a default as an environment variable has it."""
    return default if isinstance(default, str) else json.dumps(default, default=str)


def _check_database_url(url: SecretStr) -> SecretStr:
    read_database_url(url.get_secret_value())
    return url


HttpUrl = Annotated[str, AfterValidator(check_http_url)]
CertificateFile = Annotated[str, AfterValidator(check_certificates)]
CommaSeparated = Annotated[tuple[str, ...], BeforeValidator(_split)]

Risk = Literal[
    "anonymous-read", "anonymous-list", "anonymous-write", "copy-source", "other-key", "other-method", "expired-url"
]
"""Unsafe requests that a store may fail to reject. Each is a check of `storage/probe.py` that ends a bootstrap."""


class InvalidSettings(Exception):
    """A variable is missing or wrong. The message names each, and says what it should be."""


def _read_variable(name: str) -> str | None:
    folder = _secrets_folder()
    file = folder / name if folder else None
    return file.read_text().strip() if file and file.is_file() else os.environ.get(name)  # noqa: TID251  this is it


def _secrets_folder() -> Path | None:
    folder = os.environ.get("SECRETS_DIR")  # noqa: TID251  (same)
    return Path(folder) if folder else None


class Branch(BaseModel):
    """The variables with one prefix."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, validate_default=True, defer_build=True)
    prefix: ClassVar[str] = ""

    @classmethod
    def read(cls) -> Self:
        """
        Read them from files and the environment. An empty one counts as unset. Raises ValidationError.

        Where all have their defaults there is nothing to validate: most branches, whose validators take long to build.
        """
        given = {}
        for name, field in cls.model_fields.items():
            text = _read_variable(cls.name_variable(name))
            if text and text != _write(field.default):
                given[name] = text
        if given or any(field.is_required() for field in cls.model_fields.values()):
            return cls.model_validate(given)
        return cast("Self", cls.model_construct())  # which mypy takes for a Branch

    @classmethod
    def name_variable(cls, field: str) -> str:
        return f"{cls.prefix}{field}".upper()


class Database(Branch):
    """PostgreSQL 15 or newer."""

    prefix = "DATABASE_"

    url: Annotated[SecretStr, AfterValidator(_check_database_url)]
    """
    `postgresql://user:password@host:port/name`; a Unix socket's directory goes in `?host=`. `?sslmode=` is libpq's:
    `disable`, `prefer` (default), `require`, `verify-ca`, `verify-full`, with `&sslrootcert=FILE` or the system's.
    """
    connect_timeout_seconds: Seconds = 5
    statement_timeout_seconds: Seconds = 5
    """The server cancels a statement that takes longer. A second later the database counts as out of reach."""
    pool_size: int = Field(default=4, ge=1)
    """Maximum connections of one process. Further requests wait for one, as long as a statement may take."""
    prepare_statements: bool = True
    """False behind a pooler in transaction mode that does not keep track of prepared statements, as PgBouncer does."""


class Store(Branch):
    """Any store that speaks S3: MinIO, RustFS, SeaweedFS, AWS."""

    prefix = "S3_"

    endpoint_url: HttpUrl
    public_endpoint_url: HttpUrl | None = None
    """Base of presigned URLs, if clients reach the store at another address than the functions do."""
    access_key_id: SecretStr | None = None
    """Unset, with its secret: the credentials that the AWS SDK finds, such as a pod's web identity (IRSA)."""
    secret_access_key: SecretStr | None = None
    presign_access_key_id: SecretStr | None = None
    """A separate key pair that signs upload URLs and may only put into the inbox. Unset: the pair above signs."""
    presign_secret_access_key: SecretStr | None = None
    region: str = "us-east-1"
    upload_bucket: str = "upload-images"
    completed_bucket: str = "completed-images"
    notification_arn: str | None = None
    """The store's Kafka target, e.g. `arn:minio:sqs::PRIMARY:kafka`. Unset: bootstrap sets up no notifications."""
    cors_allow_origins: CommaSeparated = ()
    """Origins of web pages that may put to upload URLs. Unset: the bucket's CORS rules stay as they are."""
    accepted_risks: Annotated[tuple[Risk, ...], BeforeValidator(_split)] = ()
    """Risks with which bootstrap goes on."""
    ca_file: CertificateFile | None = None
    """PEM file of the authorities to trust for the store's certificate. Unset: the system's."""
    timeout_seconds: Seconds = 10

    @property
    def public_url(self) -> str:
        """Base of presigned URLs."""
        return self.public_endpoint_url or self.endpoint_url

    @model_validator(mode="after")
    def keys_have_secrets(self) -> Self:
        for name in ("", "presign_"):
            if bool(getattr(self, f"{name}access_key_id")) != bool(getattr(self, f"{name}secret_access_key")):
                prefix = f"S3_{name}".upper()
                raise ValueError(f"{prefix}ACCESS_KEY_ID and {prefix}SECRET_ACCESS_KEY must be set together")
        return self


class Kafka(Branch):
    """Any broker that speaks Kafka's protocol."""

    prefix = "KAFKA_"

    bootstrap_servers: Annotated[str, AfterValidator(check_servers)]
    sasl_username: SecretStr | None = None
    sasl_password: SecretStr | None = None
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    ca_file: CertificateFile | None = None
    """PEM file of the authorities to trust for brokers' certificates. Unset: the system's."""
    publish_timeout_seconds: Seconds = 5
    """The longest that a request waits for Kafka. After that, reconciliation finds the row and publishes again."""
    partitions: int = Field(default=12, ge=1)
    """Partitions of each topic that bootstrap creates. A consumer group can have no more consumers."""
    replication_factor: int = Field(default=1, ge=1)
    retention_days: int = Field(default=1, ge=1)
    """Days after which events about an image's end, which have its filename, are gone. Set by bootstrap."""

    @field_validator("security_protocol")
    @classmethod
    def sasl_has_credentials(cls, protocol: str, others: ValidationInfo) -> str:
        if protocol.startswith("SASL") and not (others.data.get("sasl_username") and others.data.get("sasl_password")):
            raise ValueError("SASL needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD")
        return protocol


class Http(Branch):
    """The API as callers see it."""

    prefix = "HTTP_"

    public_base_url: HttpUrl | None = None
    """Scheme and host of absolute links, and the API's own origin. Unset: links are relative."""
    cors_allow_origins: CommaSeparated = ()
    """Further origins whose pages may use the API: comma-separated, or `*` for all."""


Text = Annotated[str, Field(min_length=1)]
TenantName = Annotated[str, Field(pattern=f"^{TENANT_ID.pattern}$")]
RoleName = Literal["viewer", "editor", "admin"]


def _check_issuer(url: str) -> str:
    check_http_url(url)
    if not url.startswith("https:") and not is_loopback(urlsplit(url).hostname or ""):
        raise ValueError("must begin with https://, unless it is on this machine")
    return url


def _read_path(claim: object) -> object:
    return (claim,) if isinstance(claim, str) else claim


IssuerUrl = Annotated[str, AfterValidator(_check_issuer)]


class Issuer(BaseModel, frozen=True, extra="forbid", defer_build=True):
    """An issuer of bearer tokens, such as a realm of Keycloak."""

    issuer: IssuerUrl
    """Exactly as the tokens' `iss` has it."""
    audience: Text
    """What the tokens' `aud` has to contain."""
    algorithms: Annotated[tuple[Literal["RS256", "PS256", "ES256", "EdDSA"], ...], Field(min_length=1)] = ("RS256",)
    types: Annotated[tuple[Annotated[Text, AfterValidator(str.lower)], ...], Field(min_length=1)] = ("at+jwt",)
    """The tokens' `typ`. RFC 9068 says at+jwt. Issuers that know no better say JWT."""
    roles_claim: Annotated[tuple[Text, ...], BeforeValidator(_read_path), Field(min_length=1)] = ("roles",)
    """Where a token has its roles: the name of a claim, or the names on the way to it."""
    roles: dict[Text, RoleName] = {"viewer": "viewer", "editor": "editor", "admin": "admin"}
    """The issuer's names of roles, and ours."""
    tenant: TenantName = DEFAULT_TENANT
    """Whose images its tokens are about."""
    tenant_claim: Annotated[tuple[Text, ...] | None, BeforeValidator(_read_path)] = None
    """Where a token names its tenant, if the issuer serves several: a claim, or the names on the way to it."""
    keys_url: IssuerUrl | None = None
    """Its JWK Set. Unset: where its /.well-known/openid-configuration says."""


def _check_issuers(issuers: tuple[Issuer, ...]) -> tuple[Issuer, ...]:
    if len({each.issuer for each in issuers}) < len(issuers):
        raise ValueError("names an issuer twice")
    return issuers


class Auth(Branch):
    """Who may call the API."""

    prefix = "AUTH_"

    mode: Literal["required", "anonymous"] = "required"
    """`anonymous`: callers without credentials may do everything. Only where no other machine reaches the API."""
    issuers: Annotated[tuple[Issuer, ...], BeforeValidator(_read_json), AfterValidator(_check_issuers)] = ()
    """Issuers whose bearer tokens are accepted, as JSON: `[{"issuer": "https://…", "audience": "images"}]`."""


class Rates(Branch):
    """Requests of one principal, or tenant, in a minute. They may come at once. Anonymous callers are not limited."""

    prefix = "RATE_"

    requests_per_minute: int = Field(default=3000, ge=0)
    """0: no limit."""
    uploads_per_minute: int = Field(default=300, ge=0)
    """Uploads that begin, directly or by a URL. 0: no limit."""
    previews_per_minute: int = Field(default=120, ge=0)
    """Recipes that are tried out. 0: no limit."""
    decoder_seconds_per_minute: int = Field(default=600, ge=0)
    """Seconds for which workers decode what one caller asked for. They are counted afterward. 0: no limit."""
    tenant_requests_per_minute: int = Field(default=0, ge=0)
    """Requests of all callers of a tenant together. 0: no limit."""
    tenant_uploads_per_minute: int = Field(default=0, ge=0)
    """Uploads of all callers of a tenant together. 0: no limit."""
    tenant_decoder_seconds_per_minute: int = Field(default=0, ge=0)
    """Seconds for which workers decode a tenant's images. They are counted afterward. 0: no limit."""


class Quotas(Branch):
    """What a tenant may have. An object that another S3 client puts into the inbox counts, and is never refused."""

    prefix = "QUOTA_"

    images: int = Field(default=0, ge=0)
    """0: no limit."""
    bytes: int = Field(default=0, ge=0)
    """Of originals, and of uploads that were announced. 0: no limit."""
    open_uploads: int = Field(default=0, ge=0)
    """Uploads that were announced, by a URL or in parts, and have not come. 0: no limit."""
    waiting_images: int = Field(default=0, ge=0)
    """Images that have arrived, and wait for a worker or have one. 0: no limit."""
    renditions: int = Field(default=0, ge=0)
    """Renditions, made or requested, also by a URL. 0: no limit."""


NO_QUOTAS = Quotas()


class Processing(Branch):
    """Receiving and processing uploads."""

    prefix = "PROCESSING_"

    max_upload_bytes: Bytes = 10 * 1024 * 1024
    """Limit of a direct upload: the contract's 10 MB. For uploads to the store it is `LIMITS_MAX_BYTES`."""
    upload_url_seconds: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] = 900
    """Lifetime of a presigned URL. SigV4 allows a week at most."""
    multipart_seconds: Annotated[int, Field(ge=60, le=7 * 24 * 3600)] = 24 * 3600
    """Time for a client to upload a file in parts and to complete it."""
    lease_seconds: Seconds = 20
    """A processor that doesn't renew its claim within this time loses it. It renews after a third of it."""
    max_attempts: int = Field(default=8, ge=1)
    """Attempts that may break off before the image fails. Those that an outage broke off don't count."""
    max_abnormal_attempts: int = Field(default=3, ge=1)
    """Attempts that may end in a crash, of a worker or of the processor, before the image fails."""
    presets: Annotated[dict[str, dict[str, Any]], BeforeValidator(_read_json)] = {}
    """Recipes by name, as JSON: `{"banner": {"operations": […], "output": {…}}}`. Added to the built-in ones."""
    default_presets: CommaSeparated = ()
    """Presets that are made of every image, besides its thumbnail."""
    keep_location: bool = False
    """Keep where a picture was taken, for callers who request it and in renditions that keep metadata."""
    decoders: int = Field(default=2, ge=1)
    """Images that a processor decodes at once: one for each core that it may use."""
    images_per_worker: int = Field(default=1, ge=1)
    """
    Images of one tenant that a sandboxed worker decodes before it is replaced. 1 isolates each from all others. More
    take half the processor time, but one that takes over its worker could read and falsify those that follow in it.
    """
    sandbox: Literal["required", "best-effort"] = "required"
    """If the kernel can't confine a worker: decode nothing, or go on with the protection that there is."""
    pending_grace_seconds: Seconds = 30
    """Time that an event may take before `reconcile_images` requests the image again."""
    missing_object_seconds: Seconds = 3600
    """Time that a pending image waits for its object to appear in the store before it fails."""
    retention_days: int = Field(default=7, ge=1)
    """Retention of a failed image's original in the inbox, and of a deleted image's uuid in the database."""
    dead_letter_days: int = Field(default=30, ge=1)
    """Retention of undeliverable events in the database. Those about a deleted image are deleted with it."""

    @field_validator("retention_days")
    @classmethod
    def deleted_images_outlive_their_urls(cls, days: int, others: ValidationInfo) -> int:
        for name in ("upload_url_seconds", "multipart_seconds"):
            if days * 24 * 3600 < others.data.get(name, 0):
                raise ValueError(f"must be at least as long as PROCESSING_{name.upper()}")
        return days


class Audit(Branch):
    """The record of who did what."""

    prefix = "AUDIT_"

    retention_days: int = Field(default=400, ge=90)
    """Time that records are kept. The database keeps them for 90 days, whoever deletes."""


def _read_keys(text: object) -> object:
    """Read `id:hex,id:hex`. The first pair signs, and all verify."""
    if not isinstance(text, str):
        return text
    pairs = [pair.strip().partition(":") for pair in text.split(",")]
    return {name: key for name, _, key in pairs}


def _check_keys(keys: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, key in keys.items():
        if not re.fullmatch(r"[A-Za-z0-9]{1,16}", name):
            raise ValueError("an id has 1 to 16 letters or digits")
        if not re.fullmatch(r"([0-9a-fA-F]{2}){32,}", key.get_secret_value()):
            raise ValueError("a key has at least 64 hexadecimal digits, as `openssl rand -hex 32` makes them")
    return keys


class Delivery(Branch):
    """Renditions on request, by URL: `docs/delivery.md`."""

    prefix = "DELIVERY_"

    keys: Annotated[dict[str, SecretStr], BeforeValidator(_read_keys), AfterValidator(_check_keys)] = {}
    """Keys that sign URLs: `id:hex,id:hex`. The first one signs new URLs, and all verify."""
    unsigned: bool = False
    """Accept `unsafe` in place of a signature: whoever knows an image's uuid may have it in any size."""
    widths: Annotated[tuple[PositiveInt, ...], BeforeValidator(_split)] = ()
    """Widths that unsigned URLs may ask for, px, dpr included. Unset: any."""
    max_age_seconds: int = Field(default=3600, ge=0)
    """Time that caches use a rendition without asking again, unless its URL names its content."""
    wait_seconds: Seconds = 10
    """Time that a request waits for a rendition that another one makes."""
    new_per_hour: int = Field(default=100, ge=1)
    """New renditions of one image within an hour."""
    retention_days: int = Field(default=30, ge=1)
    """Time since its last use for which a rendition is stored."""


def _check_hex_list(text: SecretStr) -> SecretStr:
    if not re.fullmatch(r"([0-9a-fA-F]{2})+(,([0-9a-fA-F]{2})+)*", text.get_secret_value()):
        raise ValueError("must be hexadecimal digits, several values separated by commas")
    return text


HexList = Annotated[SecretStr, AfterValidator(_check_hex_list)]


class Imgproxy(Branch):
    """URLs in imgproxy's dialect, by imgproxy's own variables: `docs/dialects.md`."""

    prefix = "IMGPROXY_"

    key: HexList | None = None
    """Keys in hexadecimal digits. Any of them, with the salt at the same place, verifies a URL."""
    salt: HexList | None = None
    signature_size: int = Field(default=32, ge=8, le=32)
    """Bytes of a signature. Our least is 8: shorter ones can be guessed."""
    auto_webp: bool = False
    """Send WebP to callers who accept it, unless the URL names a format."""
    auto_avif: bool = False
    ttl: int = Field(default=31_536_000, ge=0)
    """Seconds that caches use a rendition."""

    presets: Annotated[str, Field(pattern=r"^$|^[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*$")] = ""
    """Named options: `name=option:argument/option:argument,name=…`. The one named `default` applies to every URL."""
    only_presets: bool = False
    """The first part of a URL is the names of presets, and there are no other options."""
    watermark_url: Annotated[str, Field(pattern=r"^(image://[0-9a-f-]{36})?$")] = ""
    """The stored image that `watermark` lays on, as `image://<uuid>`. Unset: that option does nothing."""
    watermark_opacity: Annotated[float, Field(ge=0, le=1)] = 1

    @model_validator(mode="after")
    def keys_have_salts(self) -> Self:
        if len(self.keys) != len(self.salts):
            raise ValueError("IMGPROXY_KEY and IMGPROXY_SALT must have as many values")
        return self

    @property
    def keys(self) -> tuple[bytes, ...]:
        return _read_hex_list(self.key)

    @property
    def salts(self) -> tuple[bytes, ...]:
        return _read_hex_list(self.salt)


def _read_hex_list(text: SecretStr | None) -> tuple[bytes, ...]:
    return tuple(map(bytes.fromhex, text.get_secret_value().split(","))) if text else ()


class Thumbor(Branch):
    """URLs in thumbor's dialect: `docs/dialects.md`."""

    prefix = "THUMBOR_"

    security_key: SecretStr | None = Field(default=None, min_length=16)
    """thumbor's SECURITY_KEY, which signs URLs."""
    max_age: int = Field(default=86_400, ge=0)
    """Seconds that caches use a rendition."""
    auto_webp: bool = False
    """Send WebP to callers who accept it, unless the URL names a format. The same for those that follow."""
    auto_avif: bool = False
    auto_jpg: bool = False
    """JPEG, but PNG for what has transparency."""
    auto_png: bool = False

    @property
    def is_negotiating(self) -> bool:
        return self.auto_webp or self.auto_avif or self.auto_jpg or self.auto_png


class Reconciliation(Branch):
    """The budget of one tick of `reconcile_images`. The next tick goes on where it stops."""

    prefix = "RECONCILIATION_"

    seconds: Annotated[float, Field(gt=0, le=240)] = 45
    """Less than the minute between two ticks. Only a single slow request to the store can exceed it."""
    rows: int = Field(default=10_000, ge=1)
    """Rows or objects that each step examines."""


class Limits(Branch, limits.Limits):
    """The fields of the dataclass, read and checked like any other branch's."""

    prefix = "LIMITS_"

    @field_validator("cpu_seconds")
    @classmethod
    def cpu_time_fits_into_wall_time(cls, seconds: int, others: ValidationInfo) -> int:
        if seconds > others.data.get("wall_seconds", seconds):
            raise ValueError("must be at most LIMITS_WALL_SECONDS")
        return seconds


class Log(Branch):
    prefix = "LOG_"

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Telemetry(Branch):
    prefix = "OTEL_"

    exporter_otlp_endpoint: HttpUrl | None = None
    """Where traces and metrics are sent by OTLP over HTTP. None: nowhere."""
    metric_export_interval: int = Field(default=60_000, ge=100)
    """Time between two exports of metrics, ms. The last one is sent when the process ends."""
    traces_sampler_arg: float = Field(default=0.1, ge=0, le=1)
    """Share of the traces that begin here which are recorded. A caller decides about its own, by its `traceparent`."""


class Serving(Branch):
    """The server of a function. Only its platform sets these, so they are not part of `Settings`."""

    host: str = "0.0.0.0"  # noqa: S104  a container's: Knative reaches it from the pod's queue-proxy
    port: int = Field(default=8080, ge=0, le=65535)
    threads: int = Field(default=16, ge=1)
    """Requests that are handled at once: the Service's containerConcurrency."""
    graceful_seconds: int = Field(default=600, ge=0)
    """
    How long requests may take to finish when the process is told to stop. The platform's own limit applies too: a
    pod's termination grace period, which Knative makes as long as the Service's timeoutSeconds.
    """


class Build(Branch):
    """What a container image was built from. Only its build sets these, so they are not part of `Settings`."""

    prefix = "BUILD_"

    commit: str | None = Field(default=None, pattern="^[0-9a-f]{7,64}$")


class Foreign(Branch):
    """Images on other servers that URLs in the dialects of imgproxy and thumbor may name: `docs/dialects.md`."""

    prefix = "FOREIGN_"

    sources: CommaSeparated = ()
    """What their URLs begin with, such as `https://images.example.com/`. Unset: none may be fetched."""
    networks: Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_split)] = ()
    """Private networks that may be reached. Unset: public addresses only."""
    max_age_seconds: int = Field(default=86_400, ge=60)
    """Time until a server is asked whether its file has changed."""

    @field_validator("sources")
    @classmethod
    def sources_are_prefixes(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for each in sources:
            if not re.fullmatch(r"https?://(\*|(\*\.)?[a-z0-9.-]+)(:\d+)?/[!-~]*", each):
                raise ValueError(
                    "must be prefixes such as https://images.example.com/ or https://*.example.com/photos/"
                )
        return sources


class PurgedCacheBase(BaseModel, frozen=True, extra="forbid", defer_build=True):
    """A cache in front of the service that forgets renditions by their tags."""


class FastlyCache(PurgedCacheBase):
    kind: Literal["fastly"]
    service: Text
    token: SecretStr
    url: HttpUrl = "https://api.fastly.com"


class CloudflareCache(PurgedCacheBase):
    kind: Literal["cloudflare"]
    zone: Text
    token: SecretStr
    url: HttpUrl = "https://api.cloudflare.com/client/v4"


class CloudFrontCache(PurgedCacheBase):
    kind: Literal["cloudfront"]
    distribution: Text
    access_key_id: Text
    secret_access_key: SecretStr
    url: HttpUrl = "https://cloudfront.amazonaws.com"


class SouinCache(PurgedCacheBase):
    kind: Literal["souin"]
    url: HttpUrl
    """Of its API, such as http://souin:8080/souin-api/souin."""
    token: SecretStr | None = None


class NginxCache(PurgedCacheBase):
    kind: Literal["nginx"]
    url: HttpUrl
    """It gets `PURGE <url>/<tag>`, and needs a module or a script for that."""
    token: SecretStr | None = None


PurgedCache = FastlyCache | CloudflareCache | CloudFrontCache | SouinCache | NginxCache


class Purge(Branch):
    """Caches outside that have to forget what was deleted or changed: `docs/delivery.md`."""

    prefix = "PURGE_"

    caches: Annotated[tuple[Annotated[PurgedCache, Field(discriminator="kind")], ...], BeforeValidator(_read_json)] = ()
    """As JSON: `[{"kind": "fastly", "service": "…", "token": "…"}]`."""


class Settings(BaseModel, frozen=True, defer_build=True):
    """All settings of a function. `load()` builds it once for a process, of branches that are valid already."""

    database: Database
    store: Store
    kafka: Kafka
    http: Http
    auth: Auth
    rates: Rates
    quotas: Quotas
    processing: Processing
    audit: Audit
    delivery: Delivery
    imgproxy: Imgproxy
    thumbor: Thumbor
    purge: Purge
    foreign: Foreign
    reconciliation: Reconciliation
    limits: Limits
    log: Log
    telemetry: Telemetry


BRANCHES: dict[str, type[Branch]] = {
    name: cast("type[Branch]", field.annotation) for name, field in Settings.model_fields.items()
}


@cache
def load() -> Settings:
    """
    Read the environment.

    Raises InvalidSettings, which names every variable that is missing or wrong. It shows no value: it may be secret.
    """
    branches: dict[str, Any] = {}
    mistakes = []
    folder = _secrets_folder()
    if folder and not folder.is_dir():
        mistakes.append("SECRETS_DIR: must name a folder of files, one for each secret variable")
    for name, branch in BRANCHES.items():
        try:
            branches[name] = branch.read()
        except ValidationError as error:
            mistakes += [branch.name_variable(f"{e['loc'][0]}") + f": {e['msg']}" for e in error.errors()]
    if mistakes:
        raise InvalidSettings("Settings are missing or wrong: " + "; ".join(mistakes))
    return Settings.model_construct(**branches)
