"""imgproxy's signatures: HMAC-SHA256 over a salt and the path, cut to a number of bytes."""

import base64
import hashlib
import hmac

from shared_lib.errors import Forbidden
from shared_lib.settings import Imgproxy


def sign(key: bytes, salt: bytes, path: str, size: int = 32) -> str:
    digest = hmac.digest(key, salt + path.encode("latin-1", "replace"), hashlib.sha256)
    return base64.urlsafe_b64encode(digest[:size]).rstrip(b"=").decode()


class Signatures:
    def __init__(self, settings: Imgproxy, *, allow_unsigned: bool) -> None:
        keys, salts = settings.keys, settings.salts
        self._pairs = tuple(zip(keys, salts, strict=True))
        self._size = settings.signature_size
        self._allow_unsigned = allow_unsigned

    def check(self, signature: str, path: str) -> None:
        """Raises Forbidden. Without keys any signature will do, if URLs need none here, but not a forgotten one."""
        if not self._pairs:
            if not self._allow_unsigned or ":" in signature:
                raise Forbidden("The URL is not signed", code="signature_missing")
            return
        given = signature.encode("latin-1", "replace")
        matches = [hmac.compare_digest(sign(*pair, path, self._size).encode(), given) for pair in self._pairs]
        if not any(matches):
            raise Forbidden("The signature doesn't belong to this URL", code="signature_refused")
