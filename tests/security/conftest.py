"""Verifiers of tokens in this process."""

from collections.abc import Callable

import pytest
from issuer import ALGORITHMS, AUDIENCE, Issuer

from shared_lib import settings
from shared_lib.repositories.issuer_keys import IssuerKeys
from shared_lib.repositories.tenants import Tenants
from shared_lib.runtime import Runtime
from shared_lib.services.issuer_refresh import IssuerRefresh
from shared_lib.services.token_verification import TokenVerifier

Describe = Callable[..., settings.Issuer]


@pytest.fixture(scope="module")
def issuer(trusted_issuer: Issuer) -> Issuer:
    return trusted_issuer


@pytest.fixture(scope="module")
def describe(issuer: Issuer) -> Describe:
    """Return the issuer as AUTH_ISSUERS describes it, with changes."""

    def make(**changes: object) -> settings.Issuer:
        described = {"issuer": issuer.url, "audience": AUDIENCE, "algorithms": [*ALGORITHMS.values()]}
        return settings.Issuer.model_validate(described | changes)

    return make


@pytest.fixture(scope="module")
def keys(rt: Runtime, describe: Describe) -> IssuerKeys:
    """The issuer's keys, as a tick has fetched them."""
    stored = IssuerKeys(rt.database)
    assert IssuerRefresh([describe()], stored).run() == 1
    return stored


@pytest.fixture(scope="module")
def verifier(rt: Runtime, describe: Describe, keys: IssuerKeys) -> TokenVerifier:
    return TokenVerifier([describe()], keys, Tenants(rt.database))
