"""Signatures of our own URLs: HMAC-SHA256 by a tenant's key, which is derived of one of several keys with ids.

What is signed begins with the key's id, the tenant and the time of issue, as the URL has them. Then comes the path,
with a slash, or a dot and a token's JSON in base64url, which has no slash. So neither can be taken for the other. A
signature by a key itself has only the path or the text: it is good for all tenants, and of an unknown time.
"""

import base64
import binascii
import hashlib
import hmac
import math
import re
import time
from dataclasses import dataclass
from datetime import datetime

from shared_lib.constraints import TENANT_ID
from shared_lib.delivery.capabilities import Capability, read_capability
from shared_lib.errors import Forbidden
from shared_lib.settings import Delivery

UNSIGNED = "unsafe"
"""Stands in place of a signature, as in imgproxy and thumbor."""

NOT_SIGNED = "This service only serves signed URLs: sign it with POST /api/v1/images/{uuid}/actions/sign"
WRONG = "The signature doesn't belong to this URL, or its key is no longer in use"


REVOKED = "The tenant has revoked its links of that time: have a new one signed"

_DAY_SECONDS = 86_400
_TIME = re.compile(r"[0-9]{1,10}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Grant:
    """The content of a signature."""

    allowed: Capability | bool
    """The capability of a token, or the verdict on a signature of the path."""
    tenant: str | None = None
    """Whose images it is about. None: any tenant's."""
    issued_at: int | None = None
    """Unix time, s. None: it is not signed, so it can't be revoked."""


class UrlKeys:
    def __init__(self, settings: Delivery, *, allow_unsigned: bool) -> None:
        self._keys = {name: bytes.fromhex(key.get_secret_value()) for name, key in settings.keys.items()}
        self._allow_unsigned = allow_unsigned
        self._allow_shared = settings.shared_signatures

    @property
    def are_needed(self) -> bool:
        """False if URLs need no signature, and there is no key to make one."""
        return bool(self._keys) or not self._allow_unsigned

    def sign(self, path: str, tenant: str, issued_at: int) -> str:
        """Return the segment that goes before a path: `unsafe` if signatures are not needed. Raises Forbidden."""
        if not self.are_needed:
            return UNSIGNED
        head, key = self._begin(tenant, issued_at)
        return f"{head}.{_compute(key, head + path)}"

    def make_token(self, capability: Capability, tenant: str, issued_at: int) -> str:
        """Return a token. Raises Forbidden without a key."""
        head, key = self._begin(tenant, issued_at)
        signed = f"{head}.{_encode(capability.model_dump_json(exclude_defaults=True).encode())}"
        return f"{signed}.{_compute(key, signed)}"

    def check(self, segment: str, path: str) -> Grant:
        """Raises Forbidden if a path, as it was sent, is not signed and has to be."""
        if segment == UNSIGNED:
            if not self._allow_unsigned:
                raise Forbidden(NOT_SIGNED, code="signature_missing")
            return Grant(allowed=False)
        head, _, rest = segment.partition(".")
        payload, is_token, signature = rest.rpartition(".")
        key, tenant, issued_at = self._find_key(head)
        text = payload if is_token else path
        if tenant is not None:
            text = f"{head}.{text}" if is_token else f"{head}{text}"
        if key is None or not hmac.compare_digest(_compute(key, text).encode(), signature.encode()):
            raise Forbidden(WRONG, code="signature_refused")
        return Grant(read_capability(_decode(payload)) if is_token else True, tenant, issued_at)

    def _find_key(self, head: str) -> tuple[bytes | None, str | None, int]:
        """Return the key, the tenant and the time of issue that a signature names. No key: it names none of ours."""
        name, *origin = head.split("~")
        key = self._keys.get(name)
        if not origin:
            return key if self._allow_shared else None, None, 0
        if key is None or len(origin) != 2 or not TENANT_ID.fullmatch(origin[0]) or not _TIME.fullmatch(origin[1]):
            return None, None, 0
        return derive_key(key, origin[0]), origin[0], int(origin[1])

    def _begin(self, tenant: str, issued_at: int) -> tuple[str, bytes]:
        if not self._keys:
            raise Forbidden("The operator has set no DELIVERY_KEYS to sign with", code="no_signing_key")
        name, key = next(iter(self._keys.items()))
        return f"{name}~{tenant}~{issued_at}", derive_key(key, tenant)


def derive_key(key: bytes, tenant: str) -> bytes:
    """Return the key of a tenant's own links: HKDF-Expand of RFC 5869, of one block."""
    return hmac.digest(key, f"image-processing/links/{tenant}\x01".encode(), hashlib.sha256)


def choose_issue_time(links_since: datetime | None) -> int:
    """Return the beginning of today, or of the time whose links are not revoked.

    So what is signed twice in a day has the same URL, which caches know.
    """
    today = int(time.time()) // _DAY_SECONDS * _DAY_SECONDS
    return max(today, math.ceil(links_since.timestamp())) if links_since else today


def _compute(key: bytes, text: str) -> str:
    return _encode(hmac.digest(key, text.encode("latin-1", "replace"), hashlib.sha256))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Raises Forbidden."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise Forbidden("The token is not base64url", code="token_invalid") from error
