"""Count requests by principal, and tell callers where they stand: draft-ietf-httpapi-ratelimit-headers-11."""

import math

import flask

from shared_lib.domain.principals import Principal
from shared_lib.domain.rates import WINDOW_SECONDS, Standing
from shared_lib.runtime import Runtime
from shared_lib.services.rate_limiting import enforce
from shared_lib.web.endpoint import Endpoint


def count_request(rt: Runtime, principal: Principal, endpoint: Endpoint) -> None:
    """Raise TooManyAttempts if the principal has sent too many."""
    flask.g.standings = rt.rate_limiter.take(principal, endpoint.counts_as)
    for standing in flask.g.standings:
        enforce(standing)


def describe_rates() -> dict[str, str]:
    """Return the headers of the request that is being answered, or none if no rate applies."""
    standings: list[Standing] = flask.g.get("standings", [])
    if not standings:
        return {}
    policies = [f'"{each.rate.policy}";q={each.rate.most};w={WINDOW_SECONDS}' for each in standings]
    states = [f'"{each.rate.policy}";r={each.remaining};t={math.ceil(each.full_in)}' for each in standings]
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}
