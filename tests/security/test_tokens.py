"""Bearer tokens: the good ones are accepted, and everything that was ever done to a JWT is refused."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from hostile_tokens import HOSTILE
from issuer import AUDIENCE, Issuer
from service import wait_for

from shared_lib.domain.principals import Role
from shared_lib.domain.tokens import LEEWAY_SECONDS, BadToken, parse_header
from shared_lib.errors import Unauthenticated
from shared_lib.issuers import read_key
from shared_lib.repositories.issuer_keys import IssuerKeys
from shared_lib.repositories.tenants import Tenants
from shared_lib.runtime import Runtime
from shared_lib.services.token_verification import TokenVerifier

VECTORS = json.loads((Path(__file__).parent / "wycheproof/json_web_signature_test.json").read_text())
OURS = ("RS256", "PS256", "ES256", "EdDSA")
NOW = time.time()


# Good ones


@pytest.mark.parametrize("key", ["rsa", "pss", "ec", "ed"])
def test_a_token_of_each_algorithm_is_accepted(issuer: Issuer, verifier: TokenVerifier, key: str) -> None:
    principal = verifier.verify(issuer.sign(key))

    assert (principal.name, principal.role, principal.scopes) == (f"{issuer.url}#alice", Role.EDITOR, None)
    assert principal.tenant == "default"


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"roles": ["viewer"]}, Role.VIEWER),
        ({"roles": ["viewer", "admin", "other"]}, Role.ADMIN),
        ({"roles": "editor viewer"}, Role.EDITOR),
        ({"roles": ["Admin", "ADMIN", "owner"]}, None),
        ({"roles": {"admin": True}}, None),
        ({"roles": [["admin"], 1, None]}, None),
        ({"roles": None}, None),
    ],
)
def test_the_highest_role_counts_and_others_are_ignored(
    issuer: Issuer, verifier: TokenVerifier, claims: dict[str, Any], role: Role | None
) -> None:
    assert verifier.verify(issuer.sign(**claims)).role == role


def test_roles_are_found_where_the_issuer_has_them(
    rt: Runtime, issuer: Issuer, keys: IssuerKeys, describe: Callable[..., Any]
) -> None:
    there = describe(roles_claim=["realm_access", "roles"], roles={"image-admin": "admin"})
    token = issuer.sign(realm_access={"roles": ["image-admin", "viewer"]}, roles=["viewer"])

    assert TokenVerifier([there], keys, Tenants(rt.database)).verify(token).role == Role.ADMIN
    assert (
        TokenVerifier([there], keys, Tenants(rt.database)).verify(issuer.sign(realm_access="image-admin")).role is None
    )


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("openid profile", None),
        ("profile images email", None),  # Keycloak names the client scope
        ("images:read openid", {"images:read"}),
        ("images:read images:write keys:manage", {"images:read", "images:write", "keys:manage"}),
        ("images:raed", set()),
    ],
)
def test_scopes_of_ours_limit_a_token(
    issuer: Issuer, verifier: TokenVerifier, scope: str, scopes: set[str] | None
) -> None:
    assert verifier.verify(issuer.sign(scope=scope)).scopes == scopes


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": [AUDIENCE, "other"]},
        {"sub": None, "client_id": "a-program"},
        {"nbf": None, "iat": None},
        {"exp": NOW + 3600.5},
    ],
    ids=["several audiences", "a program", "no other times", "half a second"],
)
def test_these_claims_are_fine(issuer: Issuer, verifier: TokenVerifier, claims: dict[str, Any]) -> None:
    assert verifier.verify(issuer.sign(**claims))


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
def test_clocks_may_differ_by_half_a_minute(issuer: Issuer, verifier: TokenVerifier, name: str) -> None:
    changes: dict[str, Any] = {name: int(time.time()) + (-20 if name == "exp" else 20)}

    assert verifier.verify(issuer.sign(**changes))


@pytest.mark.parametrize("kind", ["application/at+jwt", "AT+JWT"])
def test_the_type_may_be_spelled_as_a_media_type(issuer: Issuer, verifier: TokenVerifier, kind: str) -> None:
    assert verifier.verify(issuer.sign(headers={"typ": kind}))


# Bad ones


def test_a_token_that_was_accepted_is_refused_once_it_has_expired(issuer: Issuer, verifier: TokenVerifier) -> None:
    token = issuer.sign(exp=time.time() - LEEWAY_SECONDS + 1)

    wait_for(lambda: is_accepted(verifier, token), lambda accepted: not accepted, 10)


def is_accepted(verifier: TokenVerifier, token: str) -> bool:
    try:
        verifier.verify(token)
    except Unauthenticated:
        return False
    return True


def test_the_list_of_hostile_tokens_is_long() -> None:
    assert len(HOSTILE) >= 80


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_token_is_refused(issuer: Issuer, verifier: TokenVerifier, name: str) -> None:
    before = len(issuer.requested)

    with pytest.raises(Unauthenticated) as refused:
        verifier.verify(HOSTILE[name](issuer))

    assert refused.value.public == "The token is not accepted"
    assert len(issuer.requested) == before, "it asked the issuer, or a canary"


# Wycheproof


def vectors() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(group, test) for group in VECTORS["testGroups"] for test in group["tests"]]


def test_of_wycheproofs_signatures_the_valid_ones_of_our_algorithms_verify_and_no_others() -> None:
    """Our rules and the library together decide as the vectors say."""
    accepted = 0
    for group, test in vectors():
        key = read_key(group.get("public") or group["private"])
        algorithm = key.get("alg", "") if key else "none of ours"
        try:
            header = parse_header(test["jws"])
            fits = header.algorithm in OURS and algorithm in (header.algorithm, "")  # as the keyring selects keys
            ready = jwt.PyJWK(key or {}, algorithm=header.algorithm)
            verified = fits and jwt.PyJWS().decode(test["jws"], ready, algorithms=[header.algorithm]) is not None
        except (BadToken, jwt.PyJWTError, ValueError, TypeError):
            verified = False
        assert verified <= (test["result"] == "valid" and algorithm in OURS), test
        accepted += verified
    assert accepted >= 10, "the rules refuse good signatures"


def test_no_vector_of_wycheproof_is_a_token_for_this_service(
    rt: Runtime, keys: IssuerKeys, describe: Callable[..., Any]
) -> None:
    everything = describe(types=["at+jwt", "jwt"])
    verifier = TokenVerifier([everything], keys, Tenants(rt.database))

    assert len(vectors()) == VECTORS["numberOfTests"] == 401
    for _, test in vectors():
        with pytest.raises(Unauthenticated):
            verifier.verify(test["jws"])
