"""Read the settings of `infra.local` from the environment. No other module of it does."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from shared_lib.validation import describe_mistake


class CannotStart(Exception):
    """The service cannot start. The message says why, and what to do about it."""


def _split(names: object) -> object:
    return tuple(filter(None, map(str.strip, names.split(",")))) if isinstance(names, str) else names


# Compose files and shells often set a variable to an empty string instead of unsetting it.
Address = Annotated[str | None, BeforeValidator(lambda value: value or None)]


class Settings(BaseModel):
    """Environment variables, in lower case. If an address is set, it is used instead of an embedded service."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="the address that the API listens on")
    port: int = Field(5000, ge=1, le=65535)
    auth_mode: Annotated[Literal["anonymous", "required"] | None, BeforeValidator(lambda value: value or None)] = None
    """Unset: anonymous if only this machine can reach the API."""
    allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    data_dir: Path = Path(".data")
    database_url: Address = None
    database_app_url: Address = None
    database_front_url: Address = None
    database_worker_url: Address = None
    database_reconciler_url: Address = None
    s3_endpoint_url: Address = None
    s3_access_key_id: Address = None
    s3_secret_access_key: Address = None
    s3_region: str = "us-east-1"
    s3_upload_bucket: str = "upload-images"
    s3_completed_bucket: str = "completed-images"
    kafka_bootstrap_servers: Address = None
    edge_cache: Annotated[bool, BeforeValidator(lambda value: value or False)] = False
    """Put nginx in front of the API, which then caches renditions."""
    edge_token: Address = Field(None, description="sent by that nginx to authenticate what it says about clients")
    purges_url: Address = Field(None, description="where requests have caches forget at once what they changed")
    eventing_port: int | None = Field(None, description="where the process of the event sources reports on them")
    webhook_token: Address = Field(None, description="sent by the embedded store to authenticate change notifications")
    metrics_for: Literal["machine", "network"] = "machine"
    """Who may read `/_/metrics`: this machine only, or whoever reaches the port without a proxy, as under Compose."""
    inherited: dict[str, str] = Field(default_factory=dict, description="the whole environment, for child processes")

    @property
    def is_private(self) -> bool:
        """True if only this machine can reach the API."""
        return self.host == "localhost" or self.host.startswith("127.")

    @model_validator(mode="after")
    def require_roles(self) -> Self:
        """One process serves what two roles share in a cluster, so it needs a role with the rights of both."""
        if self.database_app_url and not self.database_front_url:
            raise ValueError("DATABASE_APP_URL is set: set DATABASE_FRONT_URL too, with the role images_front")
        if self.database_worker_url and not self.database_reconciler_url:
            raise ValueError("DATABASE_WORKER_URL is set: set DATABASE_RECONCILER_URL too, with images_reconciler")
        return self

    @model_validator(mode="after")
    def require_s3_credentials(self) -> Self:
        if self.s3_endpoint_url and not (self.s3_access_key_id and self.s3_secret_access_key):
            raise ValueError("S3_ENDPOINT_URL is set: set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY too")
        return self

    @property
    def needs_credentials(self) -> bool:
        return self.auth_mode == "required" or (self.auth_mode is None and not self.is_private)

    @model_validator(mode="after")
    def stay_private_if_anonymous(self) -> Self:
        if self.auth_mode == "anonymous" and not self.is_private:
            raise ValueError(
                f"AUTH_MODE=anonymous lets every caller do everything, and HOST={self.host} is not only for this "
                "machine: leave HOST or AUTH_MODE unset"
            )
        return self

    @classmethod
    def from_environment(cls) -> Self:
        environ = dict(os.environ)  # noqa: TID251  the only reader
        named = {name.lower(): value for name, value in environ.items() if name.lower() in cls.model_fields}
        try:
            settings = cls.model_validate(named | {"inherited": environ})
        except ValidationError as error:
            first = error.errors()[0]
            name = "".join(f"{part}".upper() + ": " for part in first["loc"])
            raise CannotStart(name + describe_mistake(first)) from None
        return settings.model_copy(update={"data_dir": settings.data_dir.expanduser().absolute()})
