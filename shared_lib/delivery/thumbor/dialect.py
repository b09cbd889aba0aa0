"""Read thumbor's URLs into orders, check their signatures, and word errors as it does."""

import base64
import hashlib
import hmac
import re
from functools import partial
from urllib.parse import unquote
from uuid import UUID

from shared_lib.delivery.order import Order
from shared_lib.delivery.signatures import UNSIGNED
from shared_lib.delivery.thumbor.grammar import ParsedUrl, parse
from shared_lib.delivery.thumbor.lowering import lower
from shared_lib.errors import Forbidden, Invalid, NotFound, Rejected, ServiceError, TooManyAttempts, Unavailable
from shared_lib.settings import Thumbor

PREFIX = "/thumbor/"
_IMAGE = re.compile(r"([0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:/.*)?", re.DOTALL)


def sign(key: str, path: str) -> str:
    """Return the signature of a path without a slash before it. SHA-1 is thumbor's choice: HMAC needs no more."""
    digest = hmac.digest(key.encode(), path.encode("latin-1", "replace"), hashlib.sha1)
    return base64.urlsafe_b64encode(digest).decode()


class ThumborDialect:
    def __init__(self, settings: Thumbor, *, allow_unsigned: bool) -> None:
        self._key = settings.security_key and settings.security_key.get_secret_value()
        self._allow_unsigned = allow_unsigned
        self._max_age = settings.max_age

    def read(self, path: str) -> Order:
        """Read a path as it was sent. Raises Invalid, Forbidden and NotFound."""
        signature, _, rest = path.removeprefix(PREFIX).partition("/")
        self._check(unquote(signature), rest)
        url = parse(rest)
        found = _IMAGE.fullmatch(url.image)
        if found is None:
            raise NotFound("The image is no stored one", code="source_not_found")
        return Order(image=UUID(found[1]), lower=partial(lower, url), lifetime=_read_max_age(url, self._max_age))

    def _check(self, signature: str, path: str) -> None:
        if signature == UNSIGNED and self._allow_unsigned:
            return
        given = signature.encode("latin-1", "replace")
        if not self._key or not hmac.compare_digest(sign(self._key, path).encode(), given):
            raise Forbidden("The signature doesn't belong to this URL", code="signature_refused")


def _read_max_age(url: ParsedUrl, default: int) -> int:
    given = [arguments for name, arguments in url.filters if name == "max_age" and re.fullmatch(r"\d{1,9}", arguments)]
    return int(given[-1]) if given else default


def word_error(error: ServiceError) -> tuple[int, str]:
    """Return thumbor's status and its text, which is empty."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500), ""


_STATUS: dict[type[ServiceError], int] = {
    Invalid: 400,
    Forbidden: 400,
    NotFound: 404,
    Rejected: 400,
    TooManyAttempts: 429,
    Unavailable: 503,
}
