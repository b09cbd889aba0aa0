"""Limit how many requests a principal may send. Anonymous callers are not limited: they are on one machine only."""

from shared_lib.domain.principals import ANONYMOUS, NOBODY, Principal
from shared_lib.domain.rates import Rate, RateName, Standing
from shared_lib.repositories.rates import Rates
from shared_lib.settings import Rates as RateSettings


class RateLimiter:
    def __init__(self, settings: RateSettings, rates: Rates) -> None:
        self._all = {
            "requests": Rate("requests", settings.requests_per_minute),
            "uploads": Rate("uploads", settings.uploads_per_minute),
            "previews": Rate("previews", settings.previews_per_minute),
        }
        self._rates = rates

    def take(self, principal: Principal, counts_as: RateName) -> list[Standing]:
        """Count a request. Return where its principal stands with each rate that applies, granted or not."""
        limited = [self._all[name] for name in dict.fromkeys(("requests", counts_as)) if self._all[name].most]
        if not limited or principal in (ANONYMOUS, NOBODY):
            return []
        return self._rates.take(principal, limited)
