"""Receiving, processing and keeping images."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from shared_lib import limits
from shared_lib.settings.environment import Branch, Bytes, CommaSeparated, Seconds, read_json

FORM_OVERHEAD = 64 * 1024  # bytes of a form around its file: boundaries, headers and the small fields


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
    presets: Annotated[dict[str, dict[str, Any]], BeforeValidator(read_json)] = {}  # noqa: RUF012  pydantic copies it
    """Recipes by name, as JSON: `{"banner": {"operations": […], "output": {…}}}`. Added to the built-in ones."""
    default_presets: CommaSeparated = ()
    """Presets that are made of every image, besides its thumbnail."""
    keep_location: bool = False
    """Keep where a picture was taken, for callers who request it and in renditions that keep metadata."""
    decoders: int = Field(default=2, ge=1)
    """Images that a processor decodes at once: one for each core that it may use."""
    images_per_worker: int = Field(default=1, ge=1)
    """Images of one tenant that a sandboxed worker decodes before it is replaced. 1 isolates each from all others. More
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
