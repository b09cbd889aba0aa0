"""Responses with renditions that were asked for by URL. Only the functions that deliver import this."""

import json
from urllib.parse import quote

from shared_lib.delivery.caching import describe_caching
from shared_lib.delivery.engine import Found, Made
from shared_lib.delivery.negotiation import may_have
from shared_lib.delivery.order import Order
from shared_lib.delivery.signatures import WRONG
from shared_lib.delivery.urls import Options
from shared_lib.errors import FailureCode, Forbidden, Invalid, Rejected, TooManyAttempts, WorkerError
from shared_lib.repositories.deliveries import TOO_MANY
from shared_lib.runtime import Runtime
from shared_lib.storage.buckets import Download
from shared_lib.validation import describe_unknown
from shared_lib.web.endpoint import Errors
from shared_lib.web.errors import NO_IMAGE, ImageError
from shared_lib.web.responses import Content, Deferred, Version

ERRORS = Errors(
    ImageError,
    [
        Invalid(f"width: {describe_unknown('width', tuple(Options.model_fields))}"),
        Forbidden(WRONG, code="signature_refused"),
        NO_IMAGE,
        Rejected(FailureCode.OUTPUT_SIDE_TOO_LONG, "The rendition would be 9,000 px wide; at most 8,192 are allowed."),
        TooManyAttempts(TOO_MANY, code="too_many_renditions"),
    ],
    seconds=60,
    varies_by="Accept",
)


def answer_probe(text: str) -> Content:
    """Say that the function runs, in the words that a dialect's clients wait for."""
    return Content(text.encode(), "text/plain", {"Cache-Control": "no-cache"})


def deliver(rt: Runtime, order: Order) -> Content | Deferred:
    """Send what was ordered, or make it first: not for HEAD, and not if the caller's copy is current."""
    try:
        found = rt.delivery.engine.find(order)
    except Rejected:
        if order.has_fallback:
            return _send_original(rt, order)
        raise
    if order.describe:
        described = json.dumps(order.describe(found.image)).encode()
        return Content(described, "application/json", describe_caching(found, rt.delivery.max_age, "hit"))
    if found.stored:
        return _send(rt, found, Made(found.stored, None, "hit"))
    headers = describe_caching(found, rt.delivery.max_age, "miss")
    return Deferred(lambda: _make(rt, found), found.etag, may_have(found.recipe.output), headers)


def _make(rt: Runtime, found: Found) -> Content:
    try:
        return _send(rt, found, rt.delivery.engine.make(found))
    except (Rejected, WorkerError):
        if found.order.has_fallback:
            return _send_original(rt, found.order)
        raise


def _send_original(rt: Runtime, order: Order) -> Content:
    found = rt.delivery.engine.find(order.fall_back())
    return _send(rt, found, rt.delivery.engine.make(found))


def _send(rt: Runtime, found: Found, made: Made) -> Content:
    stored = made.stored

    def open_stored(span: range | None) -> Download | bytes:
        return rt.delivery.engine.open(found, stored, span)

    # As in a URL, so that no name can end the header or add another.
    name = quote(f"{found.order.filename or found.image.uuid}.{stored.key.rpartition('.')[2]}", safe=" !#$&'()+,;=@")
    kind = "attachment" if found.order.is_attachment else "inline"
    headers = {
        "Content-Disposition": f'{kind}; filename="{name}"',
        **describe_caching(found, rt.delivery.max_age, made.how),
    }
    version = Version(found.etag, stored.size)
    return Content(made.data or open_stored, stored.content_type, headers, version=version)
