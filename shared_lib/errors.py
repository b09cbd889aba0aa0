"""Every kind of error that the service raises, each with a sentence for callers.

An error has a kind (its class) and no status: a status means different things to a caller and to a KafkaSource. So
`web/errors.py` and `consumer.py` each have a table from kind to status.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any


class FailureCode(StrEnum):
    """Why an image failed: a closed list that clients may switch on."""

    EMPTY_FILE = "empty_file"
    FILE_TOO_LARGE = "file_too_large"
    UNSUPPORTED_FORMAT = "unsupported_format"
    CORRUPT_IMAGE = "corrupt_image"
    TOO_MANY_PIXELS = "too_many_pixels"
    SIDE_TOO_LONG = "side_too_long"
    TOO_MANY_CHANNELS = "too_many_channels"
    TOO_MANY_BITS = "too_many_bits"
    METADATA_TOO_LARGE = "metadata_too_large"
    TOO_MANY_FRAMES = "too_many_frames"
    ANIMATION_TOO_LARGE = "animation_too_large"
    UNSAFE_SVG = "unsafe_svg"
    SVG_TOO_LARGE = "svg_too_large"
    TOO_MANY_ELEMENTS = "too_many_elements"
    NESTED_TOO_DEEPLY = "nested_too_deeply"
    OUTPUT_TOO_LARGE = "output_too_large"
    OUTPUT_SIDE_TOO_LONG = "output_side_too_long"
    OUTPUT_TOO_MANY_BYTES = "output_too_many_bytes"
    CROP_OUTSIDE = "crop_outside"
    WATERMARK_MISSING = "watermark_missing"
    DECODER_TIMEOUT = "decoder_timeout"
    DECODER_OUT_OF_MEMORY = "decoder_out_of_memory"
    DECODER_CRASHED = "decoder_crashed"
    INTERNAL_ERROR = "internal_error"
    UPLOAD_MISSING = "upload_missing"
    WORKER_LOST = "worker_lost"
    DELIVERY_GIVEN_UP = "delivery_given_up"
    UNSUPPORTED_RECIPE = "unsupported_recipe"
    OTHER = "other"
    """Another release wrote a reason for which this one has no code."""

    @classmethod
    def read(cls, stored: str) -> "FailureCode":
        """Return the code that a row has. A newer release may have written it."""
        try:
            return cls(stored)
        except ValueError:
            return cls.OTHER


NOT_ITS_OWN_FAULT = (
    FailureCode.DELIVERY_GIVEN_UP,
    FailureCode.WORKER_LOST,
    FailureCode.DECODER_CRASHED,
    FailureCode.INTERNAL_ERROR,
)
"""Codes that say nothing about the image itself. Once the cause is fixed, it may succeed."""

NOT_WORTH_KEEPING = (FailureCode.EMPTY_FILE, FailureCode.FILE_TOO_LARGE, FailureCode.UNSUPPORTED_FORMAT)
"""Codes whose upload is removed at once. With all others it is kept for some days, because a raised limit or a fixed
worker may change the outcome. Here there is nothing to decode, or more than the limit allows to keep.
"""


class ServiceError(Exception):
    """A failure with a name. `public` may be shown to anyone, the exception's cause may not.

    A subclass with a `public` and a `code` of its own stands beside what it is about, such as `ImageNotFound` in
    `domain/images.py`. Whoever raises it and whoever documents it name the same class.
    """

    public = "Something went wrong on our side"
    code = "internal_error"

    def __init__(
        self,
        public: str | None = None,
        *,
        code: str | None = None,
        details: list[dict[str, Any]] | None = None,
        retry_after: int | None = None,
    ) -> None:
        """`retry_after` is in seconds: after them the same request may succeed."""
        self.public = public or self.public
        super().__init__(self.public)
        self.retry_after = retry_after
        self.code = code or self.code
        self.details = details or []


class Invalid(ServiceError):
    """The input is not valid. The sentence names the parameter, and says why."""

    code = "invalid_input"


class Unauthenticated(ServiceError):
    """It is not known who the caller is. The sentence never says in detail why credentials are refused."""

    code = "credentials_refused"


class Forbidden(ServiceError):
    """The caller may not do this."""

    code = "forbidden"


class PermissionMissing(Forbidden):
    """The caller is known, and lacks a permission."""

    code = "permission_missing"

    def __init__(self, permission: str) -> None:
        super().__init__(f"This needs the permission {permission}")
        self.permission = permission


class TooManyAttempts(ServiceError):
    """Too many attempts from one place in a short time. Try again later."""

    code = "too_many_attempts"


class TooLarge(ServiceError):
    """There are more bytes than the service accepts."""

    code = "too_large"


class Unsupported(ServiceError):
    """The service does not accept this type of file or body."""

    code = "unsupported_media_type"


class NotFound(ServiceError):
    """The requested item does not exist, not yet or no longer."""

    code = "not_found"


class Conflict(ServiceError):
    """The current state forbids it. The same request may succeed later."""

    code = "conflict"


class Rejected(ServiceError):
    """The bytes of an image are rejected for good: no retry can change that."""

    def __init__(self, failure: FailureCode, public: str) -> None:
        super().__init__(public, code=failure.value)
        self.failure = failure


class RecipeRejected(Rejected):
    """One recipe cannot be carried out for this image, although others may be."""


class Unavailable(ServiceError):
    """A service that we depend on is out of reach, or busy. Try again later."""

    code = "unavailable"


class CommitUncertain(Unavailable):
    """The connection to the database was lost while a transaction ended: it may have taken effect all the same."""


class Misconfigured(Unavailable):
    """A service that we depend on responds, but our settings or permissions are wrong. An operator has to act."""

    code = "misconfigured"

    def __init__(self, part: str) -> None:
        super().__init__(f"{part} rejects the service's own settings. Its operators find the reason in the logs")


class WorkerError(ServiceError):
    """The sandbox has neither a result nor a rejection. The image may be to blame, or not: count it, and retry."""


class WorkerCrashed(WorkerError):
    """A worker died while it processed an image, or replied what no worker of ours replies."""

    code = FailureCode.DECODER_CRASHED.value


class WorkerFailed(WorkerError):
    """A worker met a bug of ours, and reported it."""

    code = FailureCode.INTERNAL_ERROR.value


class RequestRejected(Unavailable):
    """A service that we depend on rejected this one request. It is no outage, and waiting may not help."""

    code = "request_refused"


def look_up(table: dict[type[ServiceError], int], error: ServiceError, default: int) -> int:
    """Return the status of the error's class, or of its nearest base class in the table."""
    return next((table[kind] for kind in type(error).__mro__ if kind in table), default)


def describe_cause(error: BaseException) -> str | None:
    """Return the chain of causes as `Type: message < Type: message`, or None if the error has no cause."""
    return " < ".join(f"{type(each).__name__}: {each}".rstrip(": ") for each in _causes(error)) or None


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__
