"""What the box and its children say to each other over their pipes: messages of a header and raw bytes.

Each message is the header's length (4 bytes, big-endian), the body's length (8 bytes), the header, the body. A child
that a hostile image has taken over can send nothing that the parent would run, nor more than the parent allows: its
replies are JSON, which the box checks. A task is a pickle, because only the parent can write to a child, which does as
it is told in any case; to read it takes neither pydantic nor a reader of our own.
"""

import json
import pickle
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import IO, Annotated
from uuid import UUID

from shared_lib.errors import FailureCode
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.knowledge import Knowledge
from shared_lib.pipeline.recipe import Recipe
from shared_lib.plain import Holds

_LENGTHS = struct.Struct(">IQ")
_MAX_HEADER = 8 << 20  # bytes; a hundred recipes of twenty texts, the most that are asked for, take 4 million


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
    public: str


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One rendition; its bytes are the next `size` bytes of the body."""

    format: Format
    width: Annotated[int, Holds(ge=1)]
    height: Annotated[int, Holds(ge=1)]
    size: Annotated[int, Holds(ge=1)]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Child to parent: what the image really is, and what became of each recipe, in their order."""

    format: Format
    width: Annotated[int, Holds(ge=1)]
    height: Annotated[int, Holds(ge=1)]
    renditions: tuple[Encoded | Refusal, ...]
    knowledge: Knowledge | None = None


def write_reply(reply: Answer | Refusal) -> bytes:
    """As JSON, which `box.read_reply` checks."""
    return json.dumps(asdict(reply), default=datetime.isoformat).encode()


def write(stream: IO[bytes], header: bytes, body: Iterable[bytes]) -> None:
    """Send one message; `body` may come in parts. Raises BrokenPipeError when no one listens any more."""
    parts = list(body)
    stream.write(_LENGTHS.pack(len(header), sum(map(len, parts))) + header)
    for part in parts:
        stream.write(part)
    stream.flush()


def read(stream: IO[bytes], max_body: int) -> tuple[bytes, bytes]:
    """Receive one message as header and body. Raises EOFError at the end of the stream, ValueError for one too long."""
    header_length, body_length = _LENGTHS.unpack(_read_exactly(stream, _LENGTHS.size))
    if header_length > _MAX_HEADER or body_length > max_body:
        raise ValueError("a message longer than agreed")
    return _read_exactly(stream, header_length), _read_exactly(stream, body_length)


def _read_exactly(stream: IO[bytes], length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("the other side has gone")
    return data
