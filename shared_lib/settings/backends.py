"""The services that all functions depend on: PostgreSQL, the store, Kafka."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator

from shared_lib.addresses import check_servers, read_database_url
from shared_lib.settings.environment import Branch, CertificateFile, CommaSeparated, HttpUrl, Seconds, split_at_commas


def _check_database_url(url: SecretStr) -> SecretStr:
    read_database_url(url.get_secret_value())
    return url


Risk = Literal[
    "anonymous-read",
    "anonymous-list",
    "anonymous-write",
    "copy-source",
    "other-key",
    "other-method",
    "expired-url",
    "versioned-buckets",
]
"""Faults of a store that are not safe. Each is a check of `storage/probe.py` that ends a bootstrap."""


class Database(Branch):
    """PostgreSQL 15 or newer."""

    prefix = "DATABASE_"

    url: Annotated[SecretStr, AfterValidator(_check_database_url)]
    """`postgresql://user:password@host:port/name`; a Unix socket's directory goes in `?host=`. `?sslmode=` is libpq's:
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
    accepted_risks: Annotated[tuple[Risk, ...], BeforeValidator(split_at_commas)] = ()
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
