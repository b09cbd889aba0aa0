"""The headers of a rendition that are about caches."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from shared_lib.delivery.engine import Found
from shared_lib.delivery.order import Order

_YEAR = 31_536_000  # s
_STALE = 86_400  # s that a cache may still serve it while it asks again


Source = Literal["hit", "miss", "stored", "collapsed"]
_STATUS: Mapping[Source, str] = {
    "hit": "hit",
    "miss": "fwd=miss",
    "stored": "fwd=miss; stored",
    "collapsed": "fwd=miss; collapsed",
}


def describe_caching(found: Found, max_age: int, how: Source) -> Mapping[str, str]:
    """Return the headers about caches. `how` says where the rendition comes from (RFC 9211)."""
    headers = {"Cache-Control": _control(found.order, max_age), "Cache-Status": f"image-processing; {_STATUS[how]}"}
    if found.order.is_negotiated:
        headers["Vary"] = "Accept"
    return headers


def _control(order: Order, max_age: int) -> str:
    lifetime = order.lifetime if order.lifetime is not None else _YEAR if order.is_lasting else max_age
    if order.expires_at is not None:
        left = int((order.expires_at - datetime.now(UTC)).total_seconds())
        return f"public, max-age={max(0, min(left, lifetime))}"
    if order.is_lasting:
        return f"public, max-age={lifetime}, immutable"
    if order.lifetime is not None:
        return f"public, max-age={lifetime}" if lifetime else "no-cache"
    return f"public, max-age={lifetime}, stale-while-revalidate={_STALE}"
