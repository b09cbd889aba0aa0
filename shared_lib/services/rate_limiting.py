"""Limit how many requests a principal and a tenant may send. Anonymous callers, of one machine only, have no limit."""

from shared_lib.domain.principals import ANONYMOUS, NOBODY, Principal
from shared_lib.domain.rates import Rate, RateName, Standing
from shared_lib.repositories.rates import Rates
from shared_lib.settings import Rates as RateSettings


class RateLimiter:
    def __init__(self, settings: RateSettings, rates: Rates) -> None:
        self._all = (
            Rate("requests", settings.requests_per_minute),
            Rate("uploads", settings.uploads_per_minute),
            Rate("previews", settings.previews_per_minute),
            Rate("requests", settings.tenant_requests_per_minute, of_tenant=True),
            Rate("uploads", settings.tenant_uploads_per_minute, of_tenant=True),
        )
        self._rates = rates

    def take(self, principal: Principal, counts_as: RateName) -> list[Standing]:
        """Count a request. Return where its principal and tenant stand with each rate that applies, granted or not."""
        limited = [each for each in self._all if each.most and each.name in ("requests", counts_as)]
        if not limited or principal in (ANONYMOUS, NOBODY):
            return []
        return self._rates.take(principal, limited)
