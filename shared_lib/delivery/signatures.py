"""Signatures of our own URLs: HMAC-SHA256 by one of several keys with ids.

One is about the path that follows, and begins with a slash. That of a token is about the token's own JSON in base64url,
which has no slash. So neither can be taken for the other.
"""

import base64
import binascii
import hashlib
import hmac

from shared_lib.delivery.capabilities import Capability, read_capability
from shared_lib.errors import Forbidden
from shared_lib.settings import Delivery

UNSIGNED = "unsafe"
"""Stands in place of a signature, as in imgproxy and thumbor."""

NOT_SIGNED = "This service only serves signed URLs: sign it with POST /api/v1/images/{uuid}/actions/sign"
WRONG = "The signature doesn't belong to this URL, or its key is no longer in use"


class UrlKeys:
    def __init__(self, settings: Delivery, *, allow_unsigned: bool) -> None:
        self._keys = {name: bytes.fromhex(key.get_secret_value()) for name, key in settings.keys.items()}
        self._allow_unsigned = allow_unsigned

    def sign(self, path: str) -> str:
        """Return the segment that goes before a path. It is `unsafe` if no signature is needed and there is no key."""
        if not self._keys and self._allow_unsigned:
            return UNSIGNED
        name, key = self._first_key()
        return f"{name}.{_compute(key, path)}"

    def make_token(self, capability: Capability) -> str:
        """Return a token. Raises Forbidden without a key."""
        name, key = self._first_key()
        payload = _encode(capability.model_dump_json(exclude_defaults=True).encode())
        return f"{name}.{payload}.{_compute(key, payload)}"

    def check(self, segment: str, path: str) -> Capability | bool:
        """Return what a token allows, or whether the path, as it was sent, is signed.

        Raises Forbidden if it is not signed and has to be.
        """
        if segment == UNSIGNED:
            if not self._allow_unsigned:
                raise Forbidden(NOT_SIGNED, code="signature_missing")
            return False
        name, _, rest = segment.partition(".")
        payload, is_token, signature = rest.rpartition(".")
        key = self._keys.get(name)
        signed = payload if is_token else path
        if key is None or not hmac.compare_digest(_compute(key, signed).encode(), signature.encode()):
            raise Forbidden(WRONG, code="signature_refused")
        return read_capability(_decode(payload)) if is_token else True

    def _first_key(self) -> tuple[str, bytes]:
        if not self._keys:
            raise Forbidden("The operator has set no DELIVERY_KEYS to sign with", code="no_signing_key")
        return next(iter(self._keys.items()))


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
