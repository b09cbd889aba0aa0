"""API keys: their text, their checksum, and what is stored of them. No I/O.

A key is `imgp_<id>_<secret>_<checksum>`, all in letters and digits. Secret scanners find it by its prefix, a
double-click selects the whole of it, and the checksum shows a typo without the database.
"""

import re
import secrets
import string
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest

from shared_lib.domain.principals import Permission, Principal, Role
from shared_lib.errors import Conflict, NotFound

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID, _SECRET, _CHECKSUM = 10, 43, 6  # characters; 43 of 62 kinds have 256 bits
_TEXT = re.compile(rf"imgp_([0-9A-Za-z]{{{_ID}}})_([0-9A-Za-z]{{{_SECRET}}})_([0-9A-Za-z]{{{_CHECKSUM}}})")

ID_PATTERN = rf"^[0-9A-Za-z]{{{_ID}}}$"
DEFAULT_DAYS, MAX_DAYS = 90, 365
OVERLAP_HOURS, MAX_OVERLAP_HOURS = 24, 7 * 24


class ApiKeyNotFound(NotFound):
    public = "API key not found"
    code = "api_key_not_found"


class KeyNotRotatable(Conflict):
    public = "Only a live key that has no successor can be rotated"
    code = "key_not_rotatable"


@dataclass(frozen=True)
class ApiKeyText:
    """A whole key, as its owner has it."""

    id: str
    secret: str

    @classmethod
    def generate(cls) -> "ApiKeyText":
        return cls(_random(_ID), _random(_SECRET))

    @classmethod
    def parse(cls, text: str) -> "ApiKeyText | None":
        """Return the parts, or None if the text is no key or has a typo."""
        found = _TEXT.fullmatch(text)
        if found is None:
            return None
        key = cls(found[1], found[2])
        return key if f"{key}" == text else None

    @property
    def digest(self) -> bytes:
        """SHA-256 of the secret: enough for 256 random bits, and it costs a microsecond."""
        return sha256(self.secret.encode()).digest()

    def __str__(self) -> str:
        unchecked = f"imgp_{self.id}_{self.secret}"
        return f"{unchecked}_{_checksum(unchecked)}"


@dataclass(frozen=True, kw_only=True)
class KeyGrant:
    """Rights and lifetime of a new key."""

    name: str
    role: Role
    scopes: tuple[Permission, ...] | None
    days: int

    @property
    def permissions(self) -> frozenset[Permission]:
        return Principal(self.name, self.role, "", None if self.scopes is None else frozenset(self.scopes)).permissions


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A stored key, without its digest."""

    id: str
    tenant_id: str
    name: str
    role: Role
    scopes: tuple[Permission, ...] | None
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used_at: datetime | None
    """To the hour."""
    revoked_at: datetime | None
    replaced_by: str | None
    """The key that a rotation made for it."""

    def is_live(self, now: datetime) -> bool:
        return self.revoked_at is None and now < self.expires_at

    @property
    def principal(self) -> Principal:
        return Principal(
            f"key:{self.id}", self.role, self.tenant_id, None if self.scopes is None else frozenset(self.scopes)
        )


def is_secret(key: ApiKeyText, digest: bytes) -> bool:
    """Return whether the key has the stored digest, in a time that tells nothing of where they differ."""
    return compare_digest(key.digest, digest)


def is_first_in_hour(key: ApiKey, now: datetime) -> bool:
    """Return whether a use now belongs to an hour that is not recorded."""
    return key.last_used_at is None or now - key.last_used_at >= timedelta(hours=1)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(text: str) -> str:
    """Return CRC-32 in six characters of base 62."""
    number, characters = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM):
        number, rest = divmod(number, len(_ALPHABET))
        characters = _ALPHABET[rest] + characters
    return characters
