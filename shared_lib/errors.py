"""Every failure the service can name, each with a sentence that a caller may read.

An error carries a kind (its class) and never a status: the two edges, `http` and `consumer`, each own a table
from kind to answer, because a status means different things to a caller and to a KafkaSource.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any


class FailureCode(StrEnum):
    """Why an image ended as `failed`: a closed list that clients may switch on."""

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
    """A reason that this release has no code for: another one wrote it."""


NOT_ITS_OWN_FAULT = (
    FailureCode.DELIVERY_GIVEN_UP,
    FailureCode.WORKER_LOST,
    FailureCode.DECODER_CRASHED,
    FailureCode.INTERNAL_ERROR,
)
"""Codes that say nothing of the image itself: once the cause is mended, it may well succeed."""

NOT_WORTH_KEEPING = (FailureCode.EMPTY_FILE, FailureCode.FILE_TOO_LARGE, FailureCode.UNSUPPORTED_FORMAT)
"""
Codes whose upload is removed at once. All others keep it for some days, because a raised limit or a mended decoder may
change the verdict. Here there is nothing to decode, or so much that keeping it is what the limit forbids.
"""


class ServiceError(Exception):
    """A failure with a name. `public` may be shown to anyone; the exception's cause may not."""

    code = "internal_error"

    def __init__(
        self,
        public: str,
        *,
        code: str | None = None,
        details: list[dict[str, Any]] | None = None,
        retry_after: int | None = None,
    ) -> None:
        """`retry_after`: seconds after which asking again may be answered otherwise."""
        super().__init__(public)
        self.retry_after = retry_after
        self.public = public
        self.code = code or self.code
        self.details = details or []


class Invalid(ServiceError):
    """The input breaks a rule of its own form; the sentence says which parameter, and why."""

    code = "invalid_input"


class Forbidden(ServiceError):
    """Whoever asks may not have this."""

    code = "forbidden"


class TooLarge(ServiceError):
    """More bytes than the service takes."""

    code = "too_large"


class Unsupported(ServiceError):
    """A type of file or of body that the service does not take."""

    code = "unsupported_media_type"


class NotFound(ServiceError):
    """What was asked for does not exist, or not any more, or not yet."""

    code = "not_found"


class Conflict(ServiceError):
    """The state of things forbids it now; the same request may succeed later."""

    code = "conflict"


class Rejected(ServiceError):
    """The bytes of an image were refused, for good: no retry can change the answer."""

    def __init__(self, failure: FailureCode, public: str) -> None:
        super().__init__(public, code=failure.value)
        self.failure = failure


class Unavailable(ServiceError):
    """A service that we depend on is out of reach, or busy: try again later."""

    code = "unavailable"


class Misconfigured(Unavailable):
    """A service that we depend on answers, but our settings or permissions are wrong: an operator has to act."""

    code = "misconfigured"

    def __init__(self, part: str) -> None:
        super().__init__(f"{part} refuses the service's own settings; its operators find the reason in the logs")


class WorkerError(ServiceError):
    """The sandbox has neither a result nor a rejection. The image may be to blame, or not: count it, and retry."""


class WorkerCrashed(WorkerError):
    """A worker died while it processed an image, or replied what no worker of ours replies."""

    code = FailureCode.DECODER_CRASHED.value


class WorkerFailed(WorkerError):
    """A worker met a bug of ours, and reported it."""

    code = FailureCode.INTERNAL_ERROR.value


class RequestRefused(Unavailable):
    """A service that we depend on answered, and refused this one request: no outage, and waiting may not help."""

    code = "request_refused"


def look_up(table: dict[type[ServiceError], int], error: ServiceError, otherwise: int) -> int:
    """What an edge's table says of an error, or of the nearest kind that it is one of."""
    return next((table[kind] for kind in type(error).__mro__ if kind in table), otherwise)


def describe_cause(error: BaseException) -> str | None:
    """What an error was raised from, one `Type: message` for each step; None when it was raised by itself."""
    return " < ".join(f"{type(each).__name__}: {each}".rstrip(": ") for each in _causes(error)) or None


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__
