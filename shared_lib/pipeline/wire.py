"""What the box and its children say to each other over their pipes: a JSON header and raw bytes, never pickles.

Each message is the header's length (4 bytes, big-endian), the body's length (8 bytes), the header, the body. A child
that a hostile image has taken over can send nothing that the parent would run, nor more than the parent allows.
"""

import struct
from collections.abc import Iterable
from typing import IO
from uuid import UUID

from pydantic import BaseModel, Field, NonNegativeInt, RootModel

from shared_lib.errors import FailureCode
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.knowledge import Knowledge
from shared_lib.pipeline.recipe import Recipe

_LENGTHS = struct.Struct(">IQ")
_MAX_HEADER = 8 << 20  # bytes; a hundred recipes of twenty texts, the most that are asked for, take 5 million


class Task(BaseModel):
    """Parent to child: make these renditions of the body, an encoded image and those that are laid on it."""

    recipes: tuple[Recipe, ...]
    overlays: dict[UUID, NonNegativeInt] = {}
    """How many bytes each has that follows the image in the body, in this order."""
    learn: bool = False
    location: bool = False
    """Tell where it was taken as well."""


class Refusal(BaseModel):
    """Child to parent: why there is nothing to send, or nothing for one of the recipes."""

    code: FailureCode
    public: str


class Encoded(BaseModel):
    """One rendition; its bytes are the next `size` bytes of the body."""

    format: Format
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    size: int = Field(ge=1)


class Answer(BaseModel):
    """Child to parent: what the image really is, and what became of each recipe, in their order."""

    format: Format
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    renditions: tuple[Encoded | Refusal, ...]
    knowledge: Knowledge | None = None


Reply = RootModel[Answer | Refusal]


def write(stream: IO[bytes], header: BaseModel, body: Iterable[bytes]) -> None:
    """Send one message; `body` may come in parts. Raises BrokenPipeError when no one listens any more."""
    parts = list(body)
    text = header.model_dump_json().encode()
    stream.write(_LENGTHS.pack(len(text), sum(map(len, parts))) + text)
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
