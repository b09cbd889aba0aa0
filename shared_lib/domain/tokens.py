"""Bearer tokens before and after their signature is checked: strict rules of our own, without a JWT library.

JWT libraries had holes where they were lenient: embedded keys, critical headers, doubled names. So a token is read here
first, and whatever is unusual is refused. No I/O, and nothing is imported that a caller without a token would pay for.
"""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MAX_TOKEN = 8 * 1024  # characters
MAX_KEY_ID = 256
MAX_SUBJECT = 255
LEEWAY_SECONDS = 30  # by which clocks may differ
MAX_LIFETIME_SECONDS = 24 * 3600

_MAX_TIME = 10**11  # of any clock, s: the year 5138
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_REFUSED_HEADERS = {"jwk", "jku", "x5u", "x5c", "crit", "zip", "b64", "enc", "cty", "epk", "apu", "apv", "p2s", "p2c"}


class BadToken(ValueError):
    """A token is not acceptable. The reason is for the log, not for the caller."""


@dataclass(frozen=True)
class Header:
    """Claims of a token. Absent names are empty."""

    algorithm: str
    key_id: str
    type: str
    """In lower case, without `application/`."""


@dataclass(frozen=True)
class Token:
    """A token of the right form. Nothing in it is true yet."""

    text: str
    header: Header
    claims: dict[str, Any]

    @property
    def issuer(self) -> str:
        issuer = self.claims.get("iss")
        if not isinstance(issuer, str):
            raise BadToken("iss is not text")
        return issuer


def parse_token(text: str) -> Token:
    """Raises BadToken."""
    header = parse_header(text)
    return Token(text, header, _decode_object(text.split(".")[1]))


def parse_header(text: str) -> Header:
    """Check the form of all three parts, and return the first. Raises BadToken."""
    if len(text) > MAX_TOKEN:
        raise BadToken("longer than 8 KiB")
    parts = text.split(".")
    if len(parts) != 3:
        raise BadToken("not three parts")
    for part in parts:
        _decode(part)
    header = _decode_object(parts[0])
    if refused := _REFUSED_HEADERS & header.keys():
        raise BadToken(f"header {', '.join(sorted(refused))}")
    algorithm, key_id, type_ = (_text(header, name) for name in ("alg", "kid", "typ"))
    if len(key_id) > MAX_KEY_ID or not key_id.isprintable():
        raise BadToken("kid is too long or not printable")
    return Header(algorithm, key_id, type_.lower().removeprefix("application/"))


def check_claims(claims: dict[str, Any], audience: str, now: float) -> None:
    """Check times and audience. Raises BadToken."""
    expires = _time(claims, "exp")
    if expires is None:
        raise BadToken("no exp")
    if expires <= now - LEEWAY_SECONDS:
        raise BadToken("expired")
    if expires > now + MAX_LIFETIME_SECONDS + LEEWAY_SECONDS:
        raise BadToken("exp is more than a day away")
    for name in ("nbf", "iat"):
        begins = _time(claims, name)
        if begins is not None and begins > now + LEEWAY_SECONDS:
            raise BadToken(f"{name} is in the future")
    if audience not in _read_audiences(claims.get("aud")):
        raise BadToken("another audience")


def read_subject(claims: dict[str, Any]) -> str:
    """Return who the token is about: a user, or a program by its client ID. Raises BadToken."""
    subject = claims.get("sub", claims.get("client_id"))
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise BadToken("neither sub nor client_id")
    return subject


def read_names(claims: dict[str, Any], path: Sequence[str]) -> frozenset[str]:
    """Return the names in a list, or the words in a text, that a claim holds."""
    found: Any = claims
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, str):
        return frozenset(found.split(" "))
    return frozenset(each for each in found if isinstance(each, str)) if isinstance(found, list) else frozenset()


def _decode_object(part: str) -> dict[str, Any]:
    try:
        decoded = json.loads(
            _decode(part).decode("utf-8"), object_pairs_hook=_refuse_doubles, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise BadToken(f"not JSON: {type(error).__name__}") from error
    if not isinstance(decoded, dict):
        raise BadToken("not an object")
    return decoded


def _decode(part: str) -> bytes:
    """Decode base64url that has only one spelling: no padding, no other characters, no stray bits."""
    if not _BASE64URL.fullmatch(part):
        raise BadToken("not base64url")
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise BadToken("not base64url") from error
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part.encode():
        raise BadToken("not canonical base64url")
    return decoded


def _refuse_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadToken("a name is given twice")
    return found


def _refuse_constant(name: str) -> None:
    raise BadToken(f"{name} is not JSON")


def _text(header: dict[str, Any], name: str) -> str:
    value = header.get(name, "")
    if not isinstance(value, str):
        raise BadToken(f"{name} is not text")
    return value


def _time(claims: dict[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MAX_TIME:  # nan is not
        raise BadToken(f"{name} is no time")
    return float(value)


def _read_audiences(value: object) -> tuple[object, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise BadToken("aud is neither text nor a list of texts")
