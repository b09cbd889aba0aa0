"""How long caches may use a rendition, and what they are told about it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from shared_lib.delivery.engine import Found

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
    headers = {"Cache-Control": _control(found, max_age), "Cache-Status": f"image-processing; {_STATUS[how]}"}
    if found.order.is_negotiated:
        headers["Vary"] = "Accept"
    return headers


def _control(found: Found, max_age: int) -> str:
    if found.order.expires_at is not None:
        left = int((found.order.expires_at - datetime.now(UTC)).total_seconds())
        return f"public, max-age={max(0, min(left, _YEAR if found.order.is_lasting else max_age))}"
    if found.order.is_lasting:
        return f"public, max-age={_YEAR}, immutable"
    return f"public, max-age={max_age}, stale-while-revalidate={_STALE}"
