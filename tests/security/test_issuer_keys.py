"""Issuers' keys: fetched by the tick alone, within limits, and kept while an issuer is away."""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from issuer import Issuer, run_issuer
from pydantic import ValidationError
from service import Platform, wait_for

from shared_lib import settings
from shared_lib.errors import Unauthenticated, Unavailable
from shared_lib.issuers import MAX_BYTES, MAX_KEYS, fetch_keys
from shared_lib.repositories.issuer_keys import IssuerKeys
from shared_lib.repositories.tenants import Tenants
from shared_lib.runtime import Runtime
from shared_lib.services.issuer_refresh import IssuerRefresh
from shared_lib.services.token_verification import RETRY_SECONDS, TokenVerifier

UNKNOWN_KEYS = int(os.environ.get("UNKNOWN_KEYS", "500"))
"""`make check-security` sets it, and those of other tests."""
DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer that nobody knows yet."""
    with run_issuer() as running:
        yield running


def described(issuer: Issuer, **changes: object) -> settings.Issuer:
    return settings.Issuer.model_validate({"issuer": issuer.url, "audience": "images"} | changes)


@pytest.fixture
def stored(rt: Runtime) -> IssuerKeys:
    return IssuerKeys(rt.database)


@pytest.fixture
def pass_time(rt: Runtime, issuer: Issuer) -> Callable[[str], None]:
    """Let an interval pass for the issuer's row."""

    def age(interval: str) -> None:
        with rt.database.transaction() as tx:
            tx.rows(
                f"UPDATE issuer_keys SET fetched_at = fetched_at - interval '{interval}',"  # noqa: S608  a constant
                f" attempted_at = attempted_at - interval '{interval}', wanted_at = wanted_at - interval '{interval}'"
                " WHERE issuer = :issuer",
                issuer=issuer.url,
            )

    return age


def is_accepted(verifier: TokenVerifier, token: str) -> bool:
    with suppress(Unauthenticated):
        return bool(verifier.verify(token))
    return False


def test_no_request_reaches_an_issuer_until_the_tick_fetches_its_keys(
    rt: Runtime, stored: IssuerKeys, issuer: Issuer
) -> None:
    verifier = TokenVerifier([described(issuer)], stored, Tenants(rt.database))
    assert not is_accepted(verifier, issuer.sign())
    assert issuer.requested == []

    assert IssuerRefresh([described(issuer)], stored).run() == 1
    assert issuer.requested == [DISCOVERY, "/keys"]
    time.sleep(RETRY_SECONDS)
    assert is_accepted(verifier, issuer.sign())


def test_unknown_keys_cost_one_fetch_in_ten_seconds(
    rt: Runtime, stored: IssuerKeys, issuer: Issuer, pass_time: Callable[[str], None]
) -> None:
    refresh = IssuerRefresh([described(issuer)], stored)
    assert refresh.run() == 1
    verifiers = [TokenVerifier([described(issuer)], stored, Tenants(rt.database)) for _ in range(4)]
    tokens = [issuer.sign(headers={"kid": f"{number}"}) for number in range(UNKNOWN_KEYS)]
    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(lambda each: is_accepted(verifiers[each[0] % 4], each[1]), enumerate(tokens)))

    assert [refresh.run() for _ in range(20)] == [0] * 20
    pass_time("11 s")
    verifiers[0] = TokenVerifier([described(issuer)], stored, Tenants(rt.database))
    assert not is_accepted(verifiers[0], tokens[0])
    assert [refresh.run() for _ in range(20)] == [1] + [0] * 19
    assert issuer.requested.count("/keys") == 2


def test_a_tick_in_a_minute_fetches_and_one_soon_after_does_not(
    stored: IssuerKeys, issuer: Issuer, pass_time: Callable[[str], None]
) -> None:
    refresh = IssuerRefresh([described(issuer)], stored)

    assert [refresh.run(), refresh.run()] == [1, 0]
    pass_time("20 s")
    assert refresh.run() == 0
    pass_time("40 s")
    assert refresh.run() == 1


def test_a_rotation_is_followed_and_a_withdrawn_key_is_refused(
    rt: Runtime, stored: IssuerKeys, issuer: Issuer, pass_time: Callable[[str], None]
) -> None:
    refresh, verifier = (
        IssuerRefresh([described(issuer)], stored),
        TokenVerifier([described(issuer)], stored, Tenants(rt.database)),
    )
    refresh.run()
    old = issuer.sign("rsa")
    assert is_accepted(verifier, old)

    issuer.add_key("new", "RS256")
    pass_time("1 min")
    refresh.run()
    time.sleep(RETRY_SECONDS)
    assert is_accepted(verifier, issuer.sign("new"))
    assert is_accepted(verifier, old)

    del issuer.private["rsa"]
    pass_time("1 min")
    refresh.run()
    assert not is_accepted(TokenVerifier([described(issuer)], stored, Tenants(rt.database)), old)


def test_an_issuer_that_is_away_for_a_day_is_not_missed_and_after_two_it_is_not_trusted(
    rt: Runtime, stored: IssuerKeys, issuer: Issuer, pass_time: Callable[[str], None]
) -> None:
    refresh = IssuerRefresh([described(issuer)], stored)
    refresh.run()
    issuer.answers = {DISCOVERY: (503, {}, b"")}
    pass_time("24 h")

    assert refresh.run() == 0
    assert is_accepted(TokenVerifier([described(issuer)], stored, Tenants(rt.database)), issuer.sign())
    pass_time("25 h")
    assert not is_accepted(TokenVerifier([described(issuer)], stored, Tenants(rt.database)), issuer.sign())


def with_keys(*keys: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps({"keys": keys}).encode()


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (DISCOVERY, (302, {"Location": "/keys"}, b"")),
        (DISCOVERY, (404, {}, b"{}")),
        (DISCOVERY, (200, {}, b"<html>")),
        (DISCOVERY, (200, {}, b"[]")),
        (DISCOVERY, (200, {}, b'{"issuer": "https://evil.example", "jwks_uri": "https://evil.example/keys"}')),
        ("/keys", (307, {"Location": "/other"}, b"")),
        ("/keys", (500, {}, b"")),
        ("/keys", (200, {}, b'{"keys": {}}')),
        ("/keys", (200, {}, b"[" * 60_000)),
        ("/keys", (200, {}, b'{"keys": [' + b" " * MAX_BYTES + b"]}")),
    ],
    ids=lambda part: part if isinstance(part, str) else f"{part[0]} {part[2][:24]!r}",
)
def test_an_unsuitable_answer_changes_nothing(
    issuer: Issuer, path: str, answer: tuple[int, dict[str, str], bytes]
) -> None:
    issuer.answers = {path: answer}

    with pytest.raises(Unavailable):
        fetch_keys(described(issuer))
    assert set(issuer.requested) <= {DISCOVERY, "/keys"}


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/keys", "file:///etc/passwd", "https://", "https://a@b/keys", 1, None]
)
def test_keys_are_fetched_with_tls_unless_issuer_and_keys_are_on_this_machine(issuer: Issuer, url: object) -> None:
    issuer.answers = {DISCOVERY: (200, {}, json.dumps({"issuer": issuer.url, "jwks_uri": url}).encode())}

    with pytest.raises(Unavailable, match="https"):
        fetch_keys(described(issuer))


def test_only_keys_that_verify_signatures_are_kept_and_nothing_private(issuer: Issuer) -> None:
    good = issuer.public_key("rsa")
    issuer.answers["/keys"] = with_keys(
        good | {"d": "secret", "x5c": ["MIIB"]},
        {"kty": "oct", "kid": "shared", "k": "AAAA"},
        good | {"kid": "encrypting", "use": "enc"},
        good | {"kid": "signing", "key_ops": ["sign"]},
        good | {"kid": "small", "n": "_" * 171},
        good | {"kid": "huge", "n": "_" * 1400},
        good | {"kid": 5},
        {name: value for name, value in good.items() if name != "kid"},
        issuer.public_key("ec") | {"crv": "P-384"},
        "text",
        None,
    )

    [key] = fetch_keys(described(issuer))

    assert key == {name: good[name] for name in ("kty", "kid", "n", "e", "alg")}


def test_at_most_twenty_keys_are_kept(issuer: Issuer) -> None:
    issuer.answers["/keys"] = with_keys(*({**issuer.public_key("ec"), "kid": f"{each}"} for each in range(30)))

    assert len(fetch_keys(described(issuer))) == MAX_KEYS == 20


@pytest.mark.timeout(300)
def test_the_reconcilers_tick_fetches_the_keys(guarded: Platform, trusted_issuer: Issuer) -> None:
    before = trusted_issuer.requested.count("/keys")

    wait_for(lambda: trusted_issuer.requested.count("/keys"), lambda count: count > before, 130)


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://login.example.com"},
        {"issuer": "login.example.com"},
        {"issuer": "https://a:b@login.example.com"},
        {"audience": ""},
        {"algorithms": []},
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"algorithms": ["RS384"]},
        {"types": []},
        {"types": [""]},
        {"roles": {"boss": "owner"}},
        {"roles_claim": []},
        {"keys_url": "http://login.example.com/keys"},
        {"secret": "x"},
    ],
    ids=str,
)
def test_unsafe_issuers_are_refused_at_the_start(changes: dict[str, Any]) -> None:
    good: dict[str, Any] = {"issuer": "https://login.example.com", "audience": "images"}
    assert settings.Auth(issuers=json.dumps([good])).issuers

    with pytest.raises(ValidationError):
        settings.Auth(issuers=json.dumps([good | changes]))
    with pytest.raises(ValidationError, match="twice"):
        settings.Auth(issuers=json.dumps([good, good]))
