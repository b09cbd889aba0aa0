"""Messages between the sandbox and its workers, over pipes: a header and raw bytes.

A message is the header's length (4 bytes, big-endian), the body's length (8 bytes), the header, the body.

A worker that a hostile image has taken over can send nothing that the parent would execute, and no more than the parent
allows: replies are JSON, which the sandbox validates, and their texts are short and printable. A job is a pickle,
because only the parent can write to a worker, which obeys it in any case. Reading a pickle takes neither pydantic nor a
parser of our own.
"""

import json
import pickle
import struct
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Annotated, Self
from uuid import UUID

from shared_lib.constraints import Bounds, Validate
from shared_lib.errors import FailureCode, Rejected, describe_cause
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.metadata.model import ImageMetadata, clean_text, require_printable
from shared_lib.pipeline.recipe import Recipe

MAX_SENTENCE = 300
"""Characters of an error's sentence in a reply; ours are half as long."""

FORK = b"+"
"""Parent to zygote: fork one more worker. Zygote to parent: the worker's descriptors are attached."""

NUMBER_BYTES = 4
"""Size of the other numbers that a zygote sends, big-endian: the length of its first message, and exit statuses."""

_LENGTHS = struct.Struct(">IQ")
_MAX_HEADER = 8 << 20  # bytes; a hundred recipes with twenty texts each, the most in one job, take 4 million
_MAX_LINES = 100  # of a traceback

Sentence = Annotated[str, Bounds(max_length=MAX_SENTENCE), Validate(require_printable)]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Parent to worker: make these renditions of the body, which is an encoded image followed by its overlays."""

    recipes: tuple[Recipe, ...]
    overlays: dict[UUID, int] = field(default_factory=dict)
    """The size of each overlay in the body, bytes, in the body's order."""
    with_metadata: bool = False
    with_location: bool = False
    """Include where the image was taken, in its metadata and in renditions that keep metadata."""

    def write(self) -> bytes:
        return pickle.dumps(self)

    @classmethod
    def read(cls, header: bytes) -> "Job":
        job: Job = pickle.loads(header)  # noqa: S301  # written by our parent
        return job


@dataclass(frozen=True, kw_only=True)
class _Reason:
    code: FailureCode
    public: Sentence
    cause: Sentence = ""
    """For the log: the codec's own message."""

    @classmethod
    def of(cls, reason: Rejected) -> Self:
        return cls(code=reason.failure, public=_shorten(reason.public), cause=_shorten(describe_cause(reason) or ""))


@dataclass(frozen=True, kw_only=True)
class RecipeError(_Reason):
    """Why there is no rendition for one recipe."""


@dataclass(frozen=True, kw_only=True)
class ImageError(_Reason):
    """Worker to parent: why the image cannot be processed at all."""


@dataclass(frozen=True, kw_only=True)
class JobError:
    """Worker to parent: a bug of ours, and not the image's fault."""

    trace: Annotated[tuple[Sentence, ...], Bounds(max_length=_MAX_LINES)]
    """The traceback's lines for the log, the innermost call last."""

    @classmethod
    def of(cls, error: Exception) -> "JobError":
        lines = "".join(traceback.format_exception(error)).splitlines()
        return cls(trace=tuple(map(_shorten, lines[-_MAX_LINES:])))


@dataclass(frozen=True, kw_only=True)
class _Dimensions:
    format: Format
    width: Annotated[int, Bounds(ge=1)]
    height: Annotated[int, Bounds(ge=1)]

    def fits(self, side: int, pixels: int) -> bool:
        """Return whether it is within these limits, px."""
        return max(self.width, self.height) <= side and self.width * self.height <= pixels


@dataclass(frozen=True, kw_only=True)
class EncodedRendition(_Dimensions):
    """One rendition. Its bytes are the next `size` bytes of the body."""

    size: Annotated[int, Bounds(ge=1)]


@dataclass(frozen=True, kw_only=True)
class Result(_Dimensions):
    """Worker to parent: the image's real format and size, and one outcome per recipe, in the recipes' order."""

    renditions: tuple[EncodedRendition | RecipeError, ...]
    metadata: ImageMetadata | None = None
    stays: bool = False
    """Whether the worker waits for another job, instead of exiting."""


Reply = Result | ImageError | JobError


def write_reply(reply: Reply) -> bytes:
    """Write it as JSON, which `pool.read_reply` validates."""
    return _ENCODER.encode(reply).encode()


def _to_json(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else vars(value)


# Half the time of `dataclasses.asdict`, which copies every value.
_ENCODER = json.JSONEncoder(default=_to_json)


def frame(header: bytes, body: Iterable[bytes]) -> list[bytes]:
    """Return one message as parts to send one after the other. The body may come in parts."""
    parts = list(body)
    return [_LENGTHS.pack(len(header), sum(map(len, parts))) + header, *parts]


def read(stream: IO[bytes], max_body: int, max_header: int = _MAX_HEADER) -> tuple[bytes, bytes]:
    """Read one message as header and body. Raises EOFError at the end of the stream, ValueError if it is too long."""
    header_length, body_length = _LENGTHS.unpack(_read_exactly(stream, _LENGTHS.size))
    if header_length > max_header or body_length > max_body:
        raise ValueError("the message is longer than allowed")
    return _read_exactly(stream, header_length), _read_exactly(stream, body_length)


def _read_exactly(stream: IO[bytes], length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("the other side has closed the pipe")
    return data


def _shorten(text: str) -> str:
    return clean_text(text, MAX_SENTENCE) or ""
