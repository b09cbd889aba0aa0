"""Limit how much a principal and a tenant may ask for. Anonymous callers, of one machine only, have no limit."""

from shared_lib.domain.principals import ANONYMOUS, NOBODY, Principal
from shared_lib.domain.rates import Rate, RequestKind, Standing
from shared_lib.errors import ServiceError, TooManyAttempts
from shared_lib.observability import get_logger, log_failure
from shared_lib.repositories.rates import Rates
from shared_lib.settings import Rates as RateSettings

log = get_logger()


class RateLimiter:
    def __init__(self, settings: RateSettings, rates: Rates, *, serves_anonymous: bool = False) -> None:
        """If it `serves_anonymous` callers, tenants have no decoder seconds: whoever used them is not known."""
        seconds = settings.decoder_seconds_per_minute
        seconds_of_tenant = 0 if serves_anonymous else settings.tenant_decoder_seconds_per_minute
        self._decoding = Rate("decoder-seconds", seconds, is_charged_later=True)
        self._tenant_decoding = Rate("decoder-seconds", seconds_of_tenant, of_tenant=True, is_charged_later=True)
        self._all = (
            Rate("requests", settings.requests_per_minute),
            Rate("uploads", settings.uploads_per_minute),
            Rate("previews", settings.previews_per_minute),
            self._decoding,
            Rate("requests", settings.tenant_requests_per_minute, of_tenant=True),
            Rate("uploads", settings.tenant_uploads_per_minute, of_tenant=True),
            self._tenant_decoding,
        )
        self._rates = rates

    def take(self, principal: Principal, kind: RequestKind) -> list[Standing]:
        """Count a request. Return where its principal and tenant stand with each rate that applies, granted or not."""
        names = {"requests"} if kind == "requests" else {"requests", kind, "decoder-seconds"}
        limited = [each for each in self._all if each.most and each.name in names]
        if not limited or principal in (ANONYMOUS, NOBODY):
            return []
        standings = self._rates.take(principal, limited)
        if not all(each.granted for each in standings if not each.rate.of_tenant):
            self._give_back(principal.tenant, [each.rate for each in standings if each.granted and each.rate.of_tenant])
        return standings

    def _give_back(self, tenant: str, rates: list[Rate]) -> None:
        """Uncount a request that the caller's own rate refused: it would take from the others of its tenant."""
        if counted := [each for each in rates if not each.is_charged_later]:
            self._rates.charge(tenant, "", counted, -1)

    def check_decoding(self, tenant: str) -> None:
        """Raise TooManyAttempts while the tenant has used up its decoder seconds."""
        if self._tenant_decoding.most:
            [standing] = self._rates.take(Principal("", None, tenant), [self._tenant_decoding])
            enforce(standing)

    def charge_decoding(self, tenant: str, requested_by: str | None, seconds: float) -> None:
        """Count seconds for which a worker decoded an image, for its tenant and for the caller who asked, if any.

        A failure to do so is only logged.
        """
        charged = [self._decoding] if self._decoding.most and requested_by else []
        charged += [self._tenant_decoding] if self._tenant_decoding.most else []
        if charged:
            try:
                self._rates.charge(tenant, requested_by or "", charged, seconds)
            except ServiceError as error:
                log_failure(log, "decoder_seconds_not_charged", error, tenant=tenant)


def enforce(standing: Standing) -> None:
    """Raise TooManyAttempts unless the request is within its rate."""
    if not standing.granted:
        whose = " of all callers of the tenant" if standing.rate.of_tenant else ""
        most, name = standing.rate.most, standing.rate.name.replace("-", " ")
        raise TooManyAttempts(
            f"At most {most:,} {name} a minute{whose}", code="rate_exceeded", retry_after=standing.retry_after
        )
