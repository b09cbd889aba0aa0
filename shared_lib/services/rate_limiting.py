"""Limit how many requests a principal may send. Anonymous callers are not limited: they are on one machine only."""

from shared_lib.domain.principals import ANONYMOUS, NOBODY, Principal
from shared_lib.domain.rates import Rate, Standing
from shared_lib.repositories import Rates
from shared_lib.settings import Rates as RateSettings


class RateLimiter:
    def __init__(self, settings: RateSettings, rates: Rates) -> None:
        self._requests = Rate("requests", settings.requests_per_minute)
        self._uploads = Rate("uploads", settings.uploads_per_minute)
        self._rates = rates

    def take(self, principal: Principal, *, is_upload: bool) -> list[Standing]:
        """Count a request. Return where its principal stands with each rate that applies, granted or not."""
        applying = (self._requests, self._uploads) if is_upload else (self._requests,)
        limited = [rate for rate in applying if rate.most]
        if not limited or principal in (ANONYMOUS, NOBODY):
            return []
        return self._rates.take(principal, limited)
