"""Rates: how much a principal, or a tenant, may ask for in a minute, and where it stands. No I/O."""

import math
from dataclasses import dataclass
from typing import Literal

WINDOW_SECONDS = 60
"""The time that a rate is about. So many requests may come at once, and then as many again over this time."""

RequestKind = Literal["requests", "uploads", "previews", "processing"]
"""A kind of request with a rate of its own. Each also counts as one of the `requests`."""
RateName = Literal["requests", "uploads", "previews", "decoder-seconds"]


@dataclass(frozen=True, slots=True)
class Rate:
    name: RateName
    most: int
    """Requests, or seconds, in WINDOW_SECONDS."""
    of_tenant: bool = False
    """All principals of a tenant count together."""
    is_charged_later: bool = False
    """A request only needs that some is left. What it has used is charged once that is known."""

    @property
    def policy(self) -> str:
        """The name in headers."""
        return f"tenant-{self.name}" if self.of_tenant else self.name

    @property
    def interval(self) -> float:
        """Seconds after which one more may come."""
        return WINDOW_SECONDS / self.most


@dataclass(frozen=True, slots=True)
class Standing:
    """A rate after a request: whether it was granted, and the time until all of it is there again."""

    rate: Rate
    granted: bool
    full_in: float
    """Seconds until all requests may come at once again."""

    @property
    def remaining(self) -> int:
        return max(int((WINDOW_SECONDS - self.full_in) / self.rate.interval + 1e-6), 0)

    @property
    def retry_after(self) -> int:
        """Seconds until one request may come."""
        return max(math.ceil(self.full_in + self.rate.interval - WINDOW_SECONDS), 1)
