"""What the box and its children say to each other over their pipes: messages of a header and raw bytes.

Each message is the header's length (4 bytes, big-endian), the body's length (8 bytes), the header, the body. A child
that a hostile image has taken over can send nothing that the parent would run, nor more than the parent allows: its
replies are JSON, which the box checks, and their texts are short and printable. A task is a pickle, because only the
parent can write to a child, which does as it is told in any case; to read it takes neither pydantic nor a reader of our
own.
"""

import json
import pickle
import struct
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Annotated
from uuid import UUID

from shared_lib.constraints import Bounds, Validate
from shared_lib.errors import FailureCode, Rejected, describe_cause
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.metadata.model import Knowledge, clean_text, refuse_unprintable
from shared_lib.pipeline.recipe import Recipe

MAX_SENTENCE = 300
"""Characters of what a child says why it refuses; ours are half as long."""

FORK = b"+"
"""Parent to zygote: fork one more child; and back, with its descriptors."""

NUMBER_BYTES = 4
"""Of what zygote and parent tell each other besides, big-endian: the length of its first message, a child's status."""

_LENGTHS = struct.Struct(">IQ")
_MAX_HEADER = 8 << 20  # bytes; a hundred recipes of twenty texts, the most that are asked for, take 4 million
_MAX_LINES = 100  # of a trace

Sentence = Annotated[str, Bounds(max_length=MAX_SENTENCE), Validate(refuse_unprintable)]


@dataclass(frozen=True, kw_only=True)
class Task:
    """Parent to child: make these renditions of the body, an encoded image and those that are laid on it."""

    recipes: tuple[Recipe, ...]
    overlays: dict[UUID, int] = field(default_factory=dict)
    """How many bytes each has that follows the image in the body, in this order."""
    learn: bool = False
    location: bool = False
    """Tell where it was taken as well."""

    def write(self) -> bytes:
        return pickle.dumps(self)

    @classmethod
    def read(cls, header: bytes) -> "Task":
        task: Task = pickle.loads(header)  # noqa: S301  # written by our parent
        return task


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Child to parent: why there is nothing to send, or nothing for one of the recipes."""

    code: FailureCode
    public: Sentence
    cause: Sentence = ""
    """For the log: what the codec complained of."""

    @classmethod
    def of(cls, reason: Rejected) -> "Refusal":
        return cls(code=reason.failure, public=_shorten(reason.public), cause=_shorten(describe_cause(reason) or ""))


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Child to parent: a mistake of ours, and not the image's."""

    trace: Annotated[tuple[Sentence, ...], Bounds(max_length=_MAX_LINES)]
    """For the log, the innermost call last."""

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        lines = "".join(traceback.format_exception(error)).splitlines()
        return cls(trace=tuple(map(_shorten, lines[-_MAX_LINES:])))


@dataclass(frozen=True, kw_only=True)
class _Picture:
    format: Format
    width: Annotated[int, Bounds(ge=1)]
    height: Annotated[int, Bounds(ge=1)]

    def fits(self, side: int, pixels: int) -> bool:
        """Whether it is within these limits, px."""
        return max(self.width, self.height) <= side and self.width * self.height <= pixels


@dataclass(frozen=True, kw_only=True)
class Encoded(_Picture):
    """One rendition; its bytes are the next `size` bytes of the body."""

    size: Annotated[int, Bounds(ge=1)]


@dataclass(frozen=True, kw_only=True)
class Answer(_Picture):
    """Child to parent: what the image really is, and what became of each recipe, in their order."""

    renditions: tuple[Encoded | Refusal, ...]
    knowledge: Knowledge | None = None


Reply = Answer | Refusal | Failure


def write_reply(reply: Reply) -> bytes:
    """As JSON, which `box.read_reply` checks."""
    return _ENCODER.encode(reply).encode()


def _to_json(value: object) -> object:
    """Far cheaper than `dataclasses.asdict`, which copies all that it meets."""
    return value.isoformat() if isinstance(value, datetime) else vars(value)


_ENCODER = json.JSONEncoder(default=_to_json)


def frame(header: bytes, body: Iterable[bytes]) -> list[bytes]:
    """One message, in parts that are to be sent one after the other; `body` may come in parts."""
    parts = list(body)
    return [_LENGTHS.pack(len(header), sum(map(len, parts))) + header, *parts]


def read(stream: IO[bytes], max_body: int, max_header: int = _MAX_HEADER) -> tuple[bytes, bytes]:
    """Receive one message as header and body. Raises EOFError at the end of the stream, ValueError for one too long."""
    header_length, body_length = _LENGTHS.unpack(_read_exactly(stream, _LENGTHS.size))
    if header_length > max_header or body_length > max_body:
        raise ValueError("a message longer than agreed")
    return _read_exactly(stream, header_length), _read_exactly(stream, body_length)


def _read_exactly(stream: IO[bytes], length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("the other side has gone")
    return data


def _shorten(text: str) -> str:
    return clean_text(text, MAX_SENTENCE) or ""
