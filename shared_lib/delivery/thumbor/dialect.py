"""Read thumbor's URLs into orders, check their signatures, and word errors as it does."""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from urllib.parse import quote, unquote
from uuid import UUID

from shared_lib.delivery.order import Fetching, Order, Widths
from shared_lib.delivery.signatures import UNSIGNED
from shared_lib.delivery.thumbor.filters import IMAGE, names_format
from shared_lib.delivery.thumbor.geometry import FocalPoint, ask_width
from shared_lib.delivery.thumbor.grammar import ParsedUrl, parse
from shared_lib.delivery.thumbor.lowering import Preferred, describe, lower, read_focal_points
from shared_lib.errors import Forbidden, Invalid, NotFound, Rejected, ServiceError, TooManyAttempts, Unavailable
from shared_lib.pipeline.formats import Format
from shared_lib.settings import Thumbor

PREFIX = "/thumbor/"
HEALTH = frozenset({"/thumbor/healthcheck", "/thumbor/healthcheck/"})
_IMAGE = re.compile(rf"({IMAGE})(?:/.*)?", re.DOTALL)
_UNQUOTED = "~@#$&()*!+=:;,.?/'"  # thumbor's, in a URL in which nothing is encoded yet
_NESTED = 10  # URLs in one another, of which `extract_focal` reads the crop


def sign(key: str, path: str) -> str:
    """Return the signature of a path without a slash before it. SHA-1 is thumbor's choice: HMAC needs no more."""
    digest = hmac.digest(key.encode(), path.encode("latin-1", "replace"), hashlib.sha1)
    return base64.urlsafe_b64encode(digest).decode()


class ThumborDialect:
    def __init__(
        self,
        settings: Thumbor,
        *,
        allow_unsigned: bool,
        fetching: Fetching = "never",
        widths: Widths = Widths(),  # noqa: B008  it is immutable
    ) -> None:
        self._key = settings.security_key and settings.security_key.get_secret_value()
        self._allow_unsigned = allow_unsigned
        self._settings = settings
        self._fetching = fetching
        self._widths = widths

    def read(self, path: str, accept: str) -> Order:
        """Read a path as it was sent. Raises Invalid, Forbidden and NotFound."""
        signature, _, rest = path.removeprefix(PREFIX).partition("/")
        is_signed = self._check(unquote(signature), rest)
        url = parse(rest)
        if not is_signed:
            self._widths.check(ask_width(url))
        points = read_focal_points(url)
        if any(name == "extract_focal" for name, _ in url.filters):
            url, points = _extract_focal(url, points)
        found = _IMAGE.fullmatch(url.image)
        source = "" if found else self._find_foreign(url.image, is_signed=is_signed)
        if not found and not source:
            raise NotFound("The image is no stored one", code="source_not_found")
        is_negotiated = self._settings.is_negotiating and not names_format(url.filters)
        preferred = self._negotiate(accept) if is_negotiated else None
        return Order(
            image=UUID(found[1]) if found else UUID(int=0),
            source=source,
            lower=partial(lower, url, points, preferred),
            describe=partial(describe, url, points) if url.is_meta else None,
            is_negotiated=is_negotiated,
            lifetime=_read_max_age(url, self._settings.max_age),
        )

    def _find_foreign(self, image: str, *, is_signed: bool) -> str:
        """Return the URL of an image on another server, or an empty text if there is none or it may not be fetched."""
        if self._fetching == "never" or (self._fetching == "signed" and not is_signed):
            return ""
        url = image if image.lower().startswith(("http://", "https://")) else f"//{image}"
        return url if url != unquote(url) else quote(url, safe=_UNQUOTED)

    def _check(self, signature: str, path: str) -> bool:
        """Return whether the path is signed. Raises Forbidden if it is not and has to be."""
        if signature == UNSIGNED and self._allow_unsigned:
            return False
        given = signature.encode("latin-1", "replace")
        if not self._key or not hmac.compare_digest(sign(self._key, path).encode(), given):
            raise Forbidden("The signature doesn't belong to this URL", code="signature_refused")
        return True

    def _negotiate(self, accept: str) -> Preferred:
        """Take the first format that is on and named in Accept, whatever its quality value."""
        offers: tuple[tuple[bool, Preferred, tuple[str, ...]], ...] = (
            (self._settings.auto_webp, Format.WEBP, ("image/webp",)),
            (self._settings.auto_avif, Format.AVIF, ("image/avif",)),
            (self._settings.auto_jpg, "compatible", ("*/*", "image/jpg", "image/jpeg")),
            (self._settings.auto_png, Format.PNG, ("image/png",)),
        )
        found = (form for is_on, form, types in offers if is_on and any(each in accept for each in types))
        return next(found, None)


def _extract_focal(url: ParsedUrl, points: tuple[FocalPoint, ...]) -> tuple[ParsedUrl, tuple[FocalPoint, ...]]:
    """Read the image as the URL of another thumbor, and return that one's image and its crop as a focal point."""
    image = url.image
    for _ in range(_NESTED):
        host, _, path = re.sub("^https?://", "", image).partition("/")
        signature, _, rest = path.partition("/")
        if not (host and signature and rest):
            break
        inner = parse(rest)
        if inner.crop:
            extracted = FocalPoint.of_box(*inner.crop, "Original Extraction")
            return replace(url, image=inner.image), (*points, extracted) if extracted.weight > 0 else points
        image = inner.image
    return url, points


def _read_max_age(url: ParsedUrl, default: int) -> int:
    given = [arguments for name, arguments in url.filters if name == "max_age" and re.fullmatch(r"\d{1,9}", arguments)]
    return int(given[-1]) if given else default


def word_error(error: ServiceError) -> tuple[int, str]:
    """Return thumbor's status and its text, which is empty."""
    if error.code in _STATUS_BY_CODE:
        return _STATUS_BY_CODE[error.code], ""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500), ""


_STATUS_BY_CODE = {"image_failed": 400, "source_not_allowed": 400, "source_too_large": 400, "source_empty": 502}
"""Of a source that is there, and may or can not be used."""
_STATUS: Mapping[type[ServiceError], int] = {
    Invalid: 400,
    Forbidden: 400,
    NotFound: 404,
    Rejected: 400,
    TooManyAttempts: 429,
    Unavailable: 503,
}
