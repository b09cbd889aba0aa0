"""Read imgproxy's URLs into orders, and word errors as it does."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from shared_lib.delivery.imgproxy.geometry import ask_width
from shared_lib.delivery.imgproxy.grammar import parse, parse_presets, split_signature
from shared_lib.delivery.imgproxy.lowering import Mark, lower
from shared_lib.delivery.imgproxy.options import names_only_presets, read_options, separate_preset
from shared_lib.delivery.imgproxy.signatures import Signatures
from shared_lib.delivery.negotiation import Accepted, read_accept
from shared_lib.delivery.order import Fetching, Order, Widths
from shared_lib.delivery.presets import FindPreset, LowerPreset
from shared_lib.errors import Forbidden, Invalid, NotFound, Rejected, ServiceError, TooManyAttempts, Unavailable
from shared_lib.settings import Imgproxy

PREFIX = "/imgproxy"
HEALTH = frozenset({"/imgproxy/health"})
_SOURCE = re.compile(r"(?:image://)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:/[^/]*)?")
_S3 = re.compile(r"s3://([^/]+)/(.+)")


class ImgproxyDialect:
    def __init__(  # noqa: PLR0913  what it depends on, and three rights
        self,
        settings: Imgproxy,
        upload_bucket: str,
        find_preset: FindPreset,
        *,
        allow_unsigned: bool,
        is_open: bool,
        fetching: Fetching = "never",
        widths: Widths = Widths(),  # noqa: B008  it is immutable
    ) -> None:
        """If it is open, unsigned URLs may deliver originals."""
        self._signatures = Signatures(settings, allow_unsigned=allow_unsigned)
        self._formats = {"avif": settings.auto_avif, "webp": settings.auto_webp}
        self._bucket = upload_bucket
        self._ttl = settings.ttl
        self._presets = parse_presets(settings.presets)
        for name in self._presets:
            read_options([("preset", [name])], "", self._presets)  # an operator's mistake shows at the start
        self._find_preset = find_preset
        self._has_only_presets = settings.only_presets
        self._mark = _read_mark(settings)
        self._widths = Widths() if settings.keys else widths
        self._may_pass_on = is_open or bool(settings.keys)
        self._may_fetch = fetching == "always" or (fetching == "signed" and bool(settings.keys))

    def read(self, path: str, accept: str) -> Order:
        """Read a path as it was sent. Raises Invalid, Forbidden and NotFound."""
        signature, signed = split_signature(path.removeprefix(PREFIX))
        self._signatures.check(signature, signed)
        url = parse(signed, has_only_presets=self._has_only_presets)
        preset, given = separate_preset(url.options, self._presets)
        options = read_options(given, url.extension, {} if preset else self._presets)
        if options.is_raw and not self._may_pass_on:
            raise Forbidden("Only a signed URL delivers an original", code="signature_missing")
        if not self._may_pass_on:
            options = replace(options, skip_processing=frozenset())
        if not (options.is_raw or names_only_presets(url.options)):
            self._widths.check(ask_width(options))
        if options.expires and options.expires <= datetime.now(UTC).timestamp():
            raise Invalid("The URL has expired")
        is_negotiated = not (preset or options.format or options.is_raw) and any(self._formats.values())
        accepted: Accepted = self._negotiate(accept) if is_negotiated else "any"
        is_foreign = self._may_fetch and url.source.lower().startswith(("http://", "https://"))
        return Order(
            image=UUID(int=0) if is_foreign else self._find_source(url.source),
            source=url.source if is_foreign else "",
            lower=(
                LowerPreset(self._find_preset, preset, options.format)
                if preset
                else partial(lower, options, accepted, self._mark)
            ),
            preset=preset,
            is_negotiated=is_negotiated,
            lifetime=None if preset else self._ttl,  # it may change
            expires_at=datetime.fromtimestamp(options.expires, UTC) if options.expires else None,
            filename=options.filename,
            is_attachment=options.is_attachment,
        )

    def _negotiate(self, accept: str) -> Accepted:
        """Take AVIF before WebP, whatever their quality values, except 0."""
        named = [form for form, is_on in self._formats.items() if is_on and f"image/{form}" in accept.lower()]
        return read_accept(f"image/{named[0]}") if named else "any"

    def _find_source(self, source: str) -> UUID:
        if stored := _S3.fullmatch(source):
            if stored[1] != self._bucket:
                raise NotFound("The bucket is not ours", code="source_not_allowed")
            source = stored[2]
        found = _SOURCE.fullmatch(source)
        if found is None:
            raise NotFound("The source is no stored image", code="source_not_allowed")
        return UUID(found[1])


def _read_mark(settings: Imgproxy) -> Mark | None:
    image = settings.watermark_url.removeprefix("image://")
    return Mark(UUID(image), settings.watermark_opacity) if image else None


def word_error(error: ServiceError) -> tuple[int, str]:
    """Return imgproxy's status and text for an error."""
    if error.code in _WORDS_BY_CODE:
        return _WORDS_BY_CODE[error.code]
    for kind, status, text in _WORDS:
        if isinstance(error, kind):
            return status, text
    return 500, "Internal error"


_WORDS_BY_CODE = {
    "source_not_allowed": (404, "Invalid source URL"),
    "no_such_preset": (404, "Invalid URL"),
    "option_not_allowed": (403, "Invalid URL"),
    "format_not_written": (422, "Invalid URL"),
    "image_failed": (422, "Invalid source image"),
    "source_empty": (422, "Invalid source image"),
    "source_too_large": (422, "Invalid source image"),
}
_WORDS: tuple[tuple[type[ServiceError], int, str], ...] = (
    (Invalid, 404, "Invalid URL"),
    (Forbidden, 403, "Forbidden"),
    (NotFound, 404, "Source is unreachable"),
    (Rejected, 422, "Invalid source image"),
    (TooManyAttempts, 429, "Too many requests"),
    (Unavailable, 503, "Timeout"),
)
