"""Signatures of our own URLs: HMAC-SHA256 over the path that follows, by one of several keys with ids."""

import base64
import hashlib
import hmac

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
        if self._keys:
            name, key = next(iter(self._keys.items()))
            return f"{name}.{_compute(key, path)}"
        if self._allow_unsigned:
            return UNSIGNED
        raise Forbidden("The operator has set no DELIVERY_KEYS to sign with", code="no_signing_key")

    def check(self, segment: str, path: str) -> bool:
        """Return whether the path, as it was sent, is signed. Raises Forbidden unless it is, or need not be."""
        if segment == UNSIGNED:
            if not self._allow_unsigned:
                raise Forbidden(NOT_SIGNED, code="signature_missing")
            return False
        name, _, signature = segment.partition(".")
        key = self._keys.get(name)
        if key is None or not hmac.compare_digest(_compute(key, path).encode(), signature.encode()):
            raise Forbidden(WRONG, code="signature_refused")
        return True


def _compute(key: bytes, path: str) -> str:
    digest = hmac.digest(key, path.encode("latin-1", "replace"), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
