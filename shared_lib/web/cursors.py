"""Cursors: the place where a list continues, as clients pass it back.

A cursor is opaque, and only good for the list, filters and order that it was made for. Its checksum tells a damaged
cursor, or one of another list, from a good one. It is not secret and needs no key: whoever makes one up reads from a
place in a list that they may read anyway.
"""

import base64
import hashlib
import json
from datetime import datetime
from uuid import UUID

from pydantic import AwareDatetime

from shared_lib.domain.pages import Position
from shared_lib.validation import adapt

_TIMED, _NAMED = tuple[AwareDatetime, UUID], tuple[str, UUID]
_CHECKSUM = 9  # bytes


def encode(position: Position, filters: str) -> str:
    """Return the cursor of a position in the list with these filters and this order."""
    value = position.value.isoformat() if isinstance(position.value, datetime) else position.value
    content = json.dumps([value, str(position.uuid)], ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_sum(content, filters) + content).rstrip(b"=").decode()


def decode(cursor: str, filters: str, *, is_timed: bool) -> Position:
    """Return the position of a cursor. Raises ValueError if it was made for other filters, or by nobody."""
    data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
    checksum, content = data[:_CHECKSUM], data[_CHECKSUM:]
    if checksum != _sum(content, filters):
        raise ValueError("the checksum differs")
    value, uuid = adapt(_TIMED if is_timed else _NAMED).validate_json(content)
    if isinstance(value, str) and "\0" in value:
        raise ValueError("no text has NUL")
    return Position(value, uuid)


def _sum(content: bytes, filters: str) -> bytes:
    return hashlib.blake2b(content, digest_size=_CHECKSUM, key=hashlib.blake2b(filters.encode()).digest()).digest()
