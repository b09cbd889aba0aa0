"""The headers of a rendition that are about caches."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from shared_lib.delivery.engine import Found
from shared_lib.delivery.order import Order

_YEAR = 31_536_000  # s
_STALE = 86_400  # s that a cache may still serve it while it asks again
_EDGE = 60  # s until a cache that can't be purged asks again


Source = Literal["hit", "miss", "stored", "collapsed"]
_STATUS: Mapping[Source, str] = {
    "hit": "hit",
    "miss": "fwd=miss",
    "stored": "fwd=miss; stored",
    "collapsed": "fwd=miss; collapsed",
}


def describe_caching(found: Found, max_age: int, how: Source) -> Mapping[str, str]:
    """Return the headers about caches. `how` says where the rendition comes from (RFC 9211)."""
    lifetime, more = _choose_lifetime(found.order, max_age)
    headers = {
        "Cache-Control": f"public, max-age={lifetime}{more}" if lifetime else "no-cache",
        "Cache-Status": f"image-processing; {_STATUS[how]}",
        **_describe_tags(list_tags(found)),
    }
    if lifetime:
        headers["CDN-Cache-Control"] = f"max-age={lifetime}{more}"  # RFC 9213
        headers["X-Accel-Expires"] = f"{min(lifetime, _EDGE)}"  # nginx
    if found.order.is_negotiated:
        headers["Vary"] = "Accept"
    return headers


def list_tags(found: Found) -> list[str]:
    """Return the names under which caches can find it, to purge it."""
    tags = [f"image-{found.image.uuid}"]
    return [*tags, tag_preset(found.image.tenant, found.order.preset)] if found.order.preset else tags


def tag_preset(tenant: str, name: str) -> str:
    return f"preset-{tenant}-{name}"


def _describe_tags(tags: list[str]) -> Mapping[str, str]:
    return {
        "Surrogate-Key": " ".join(tags),  # Fastly, Souin, Varnish
        "Cache-Tag": ",".join(tags),  # Cloudflare, CloudFront, Akamai
        "Cache-Groups": ", ".join(f'"{each}"' for each in tags),  # RFC 9875
    }


def _choose_lifetime(order: Order, max_age: int) -> tuple[int, str]:
    """Return the seconds that caches may use it, and further directives."""
    lifetime = order.lifetime if order.lifetime is not None else _YEAR if order.is_lasting else max_age
    if order.expires_at is not None:
        left = int((order.expires_at - datetime.now(UTC)).total_seconds())
        return max(0, min(left, lifetime)), ""
    if order.is_lasting:
        return lifetime, ", immutable"
    return lifetime, "" if order.lifetime is not None else f", stale-while-revalidate={_STALE}"
