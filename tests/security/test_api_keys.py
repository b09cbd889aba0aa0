"""API keys: made once, shown once, used, rotated, revoked. Guessing is slow."""

import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from postgres_proxy import PostgresProxy
from pydantic import SecretStr
from service import ENVIRONMENT, ROOT, Api, Platform

from shared_lib import settings
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database, Transaction
from shared_lib.domain.api_keys import ApiKeyText
from shared_lib.errors import Misconfigured, ServiceError, Unauthenticated
from shared_lib.repositories.api_keys import ApiKeys
from shared_lib.repositories.issuer_keys import IssuerKeys
from shared_lib.repositories.tenants import Tenants
from shared_lib.services.authentication import (
    BAD_KEYS,
    KEPT_SECONDS,
    LOOK_UPS_A_SECOND,
    Authenticator,
    Credentials,
)
from shared_lib.services.token_verification import TokenVerifier

Call = Callable[..., requests.Response]


@pytest.fixture
def tx(guarded: Platform) -> Iterator[Transaction]:
    database = Database(settings.Database(url=SecretStr(guarded.environment["DATABASE_URL"])))
    with database.transaction() as tx:
        yield tx
    database.disconnect()


@pytest.fixture
def call(guarded: Platform) -> Call:
    def send(method: str, path: str, key: str, **more: Any) -> requests.Response:
        return requests.request(method, f"{guarded.url}/api/v1{path}", headers={"X-API-Key": key}, timeout=30, **more)

    return send


def test_keys_that_ended_long_ago_are_forgotten(
    guarded: Platform, make_key: Callable[..., str], tx: Transaction
) -> None:
    ids = {name: make_key("viewer").split("_")[1] for name in ("live", "ended", "revoked long ago", "expired long ago")}
    tx.rows("UPDATE api_keys SET expires_at = now() - interval '89 days' WHERE id = :id", id=ids["ended"])
    tx.rows("UPDATE api_keys SET revoked_at = now() - interval '91 days' WHERE id = :id", id=ids["revoked long ago"])
    tx.rows("UPDATE api_keys SET expires_at = now() - interval '91 days' WHERE id = :id", id=ids["expired long ago"])
    tx.commit()
    worker = Database(settings.Database(url=SecretStr(guarded.environment["DATABASE_WORKER_URL"])))

    ApiKeys(worker).purge()

    worker.disconnect()
    app = Database(settings.Database(url=SecretStr(guarded.environment["DATABASE_APP_URL"])), DEFAULT_TENANT)
    left = {key.id for key in ApiKeys(app).list()}
    assert left & {*ids.values()} == {ids["live"], ids["ended"]}
    with pytest.raises(Misconfigured):
        ApiKeys(app).purge()
    app.disconnect()


def create(call: Call, key: str, **order: Any) -> dict[str, Any]:
    response = call("POST", "/api-keys", key, json={"name": "test", "role": "editor"} | order)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()["data"]
    return made


def test_a_new_key_works_and_only_its_digest_is_stored(call: Call, admin_key: str, tx: Transaction) -> None:
    made = create(call, admin_key, role="viewer")

    assert call("GET", "/images", made["key"]).status_code == 200
    assert made["createdBy"] == f"key:{admin_key.split('_')[1]}"
    secret = made["key"].split("_")[2]
    rows = tx.rows("SELECT CAST(k AS text) AS row FROM api_keys k WHERE id = :id", id=made["id"])
    assert rows
    assert secret not in rows[0]["row"]
    assert made["key"] not in call("GET", "/api-keys", admin_key).text


def test_a_key_is_whole_on_a_double_click_and_has_256_bits() -> None:
    keys = [f"{ApiKeyText.generate()}" for _ in range(1000)]

    assert len(set(keys)) == 1000
    assert {character for key in keys for character in key} == {*string.ascii_letters, *string.digits, "_"}
    assert [len(part) for part in keys[0].split("_")] == [4, 10, 43, 6]


def test_every_typo_is_seen_without_the_database() -> None:
    key = f"{ApiKeyText.generate()}"

    assert ApiKeyText.parse(key) is not None
    for at in range(len(key)):
        for wrong in "aZ0":
            typo = key[:at] + wrong + key[at + 1 :]
            assert typo == key or ApiKeyText.parse(typo) is None
        assert ApiKeyText.parse(key[:at] + key[at + 1 :]) is None
    for odd in ("", "imgp_", key + "\n", key + " ", f"{key},{key}", key.upper(), key.replace("_", "-"), "é" * 66):
        assert ApiKeyText.parse(odd) is None


def test_a_revoked_key_is_refused_after_five_seconds_at_most(call: Call, admin_key: str) -> None:
    made = create(call, admin_key)
    assert call("GET", "/images", made["key"]).status_code == 200

    assert call("DELETE", f"/api-keys/{made['id']}", admin_key).status_code == 200
    revoked = time.monotonic()
    while call("GET", "/images", made["key"]).status_code == 200:
        time.sleep(0.05)

    assert time.monotonic() - revoked < KEPT_SECONDS + 0.5
    assert KEPT_SECONDS <= 5
    assert call("DELETE", f"/api-keys/{made['id']}", admin_key).status_code == 200


def test_both_keys_work_while_one_replaces_the_other(call: Call, admin_key: str) -> None:
    old = create(call, admin_key, scopes=["images:read"])

    response = call("POST", f"/api-keys/{old['id']}/actions/rotate", admin_key, json={"overlapHours": 1})
    new = response.json()["data"]

    assert response.status_code == 201
    assert (new["name"], new["role"], new["scopes"]) == (old["name"], old["role"], old["scopes"])
    assert {call("GET", "/images", each["key"]).status_code for each in (old, new)} == {200}
    [shown] = [each for each in call("GET", "/api-keys", admin_key).json()["data"] if each["id"] == old["id"]]
    assert shown["replacedBy"] == new["id"]
    assert shown["expiresAt"] < old["expiresAt"]
    again = call("POST", f"/api-keys/{old['id']}/actions/rotate", admin_key, json={})
    assert (again.status_code, again.json()["code"]) == (409, "key_not_rotatable")


def test_without_an_overlap_the_old_key_ends_at_once(call: Call, admin_key: str) -> None:
    old = create(call, admin_key)

    assert call("POST", f"/api-keys/{old['id']}/actions/rotate", admin_key, json={"overlapHours": 0}).status_code == 201
    assert call("GET", "/images", old["key"]).status_code in (401, 429)  # bad keys are counted


def test_scopes_limit_a_key_to_a_part_of_its_role(call: Call, admin_key: str) -> None:
    made = create(call, admin_key, scopes=["images:read"])

    assert call("GET", "/images", made["key"]).status_code == 200
    assert call("GET", "/collections", made["key"]).status_code == 403
    assert call("POST", "/collections", made["key"], json={"name": "No"}).status_code == 403
    beyond = call("POST", "/api-keys", admin_key, json={"name": "x y", "role": "viewer", "scopes": ["keys:manage"]})
    assert beyond.status_code == 400


def test_a_key_cannot_make_or_rotate_a_key_that_may_do_more_than_itself(call: Call, admin_key: str) -> None:
    limited = create(call, admin_key, role="admin", scopes=["keys:manage", "images:read"])["key"]
    more = create(call, admin_key)

    for order in (
        {"role": "admin"},
        {"role": "editor"},
        {"role": "viewer"},
        {"role": "editor", "scopes": ["images:write"]},
    ):
        refused = call("POST", "/api-keys", limited, json={"name": "more"} | order)
        assert (refused.status_code, refused.json()["code"]) == (403, "grant_beyond_own_permissions")
    assert call("POST", f"/api-keys/{more['id']}/actions/rotate", limited, json={}).status_code == 403
    assert create(call, limited, role="viewer", scopes=["images:read"])


@pytest.mark.parametrize("days", [0, 366, -1, "90", 1.5])
def test_a_key_expires_after_a_year_at_most(call: Call, admin_key: str, days: object) -> None:
    order = {"name": "for ever", "role": "viewer", "expiresInDays": days}

    assert call("POST", "/api-keys", admin_key, json=order).status_code == 400


def test_a_whole_number_may_be_written_with_a_decimal_point(call: Call, admin_key: str) -> None:
    assert create(call, admin_key, expiresInDays=30.0)


def test_a_key_expires_after_ninety_days_by_default(call: Call, admin_key: str, tx: Transaction) -> None:
    made = create(call, admin_key)

    lifetime = "SELECT expires_at - created_at AS age FROM api_keys WHERE id = :id"
    assert tx.rows(lifetime, id=made["id"])[0]["age"].days == 90


def test_the_hour_of_the_last_use_is_recorded(call: Call, admin_key: str) -> None:
    made = create(call, admin_key)
    assert made["lastUsedAt"] is None
    assert call("GET", "/images", made["key"]).status_code == 200

    [shown] = [each for each in call("GET", "/api-keys", admin_key).json()["data"] if each["id"] == made["id"]]

    assert shown["lastUsedAt"].endswith(":00:00.000Z")


def test_guesses_are_slowed_down_and_lock_nobody_out(guarded: Platform, admin_key: str) -> None:
    known = admin_key.split("_")[1]
    guesses = [f"{ApiKeyText(known, ApiKeyText.generate().secret)}" for _ in range(3 * BAD_KEYS)]

    def guess(key: str) -> requests.Response:
        return requests.get(f"{guarded.url}/api/v1/images", headers={"X-API-Key": key}, timeout=30)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(guess, guesses))

    statuses = [each.status_code for each in answers]
    assert set(statuses) <= {401, 429}
    assert statuses.count(401) <= BAD_KEYS
    assert all(0 < int(each.headers["Retry-After"]) <= 60 for each in answers if each.status_code == 429)
    assert guess(admin_key).status_code == 200


def test_a_guesser_who_invents_addresses_is_slowed_down_all_the_same(
    admin: Api, guarded: Platform, admin_key: str
) -> None:
    known = admin_key.split("_")[1]

    def guess(number: int) -> int:
        key = f"{ApiKeyText(known, ApiKeyText.generate().secret)}"
        invented = {"X-API-Key": key, "X-Forwarded-For": f"198.51.100.{number}, 10.0.0.{number}"}
        return requests.get(f"{guarded.url}/api/v1/images", headers=invented, timeout=30).status_code

    statuses = [guess(number) for number in range(3 * BAD_KEYS)]

    assert statuses.count(401) <= BAD_KEYS
    denied = admin("GET", "/audit-events", params={"action": "access_denied", "limit": "100"}).json()["data"]
    assert {each["address"] for each in denied} == {"127.0.0.1"}


@pytest.fixture
def proxied(guarded: Platform) -> Iterator[tuple[Authenticator, PostgresProxy]]:
    """What authenticates a process's callers, with the database behind a proxy that counts."""
    with PostgresProxy(guarded.environment["DATABASE_APP_URL"]) as proxy:
        database = Database(settings.Database(url=SecretStr(proxy.url)))
        tokens = TokenVerifier((), IssuerKeys(database), Tenants(database))
        yield Authenticator(settings.Auth(), ApiKeys(database), tokens), proxy
        database.disconnect()
        proxy.shutdown()


def test_guesses_beyond_the_limit_cost_few_look_ups(
    proxied: tuple[Authenticator, PostgresProxy], admin_key: str
) -> None:
    authenticator, proxy = proxied
    assert authenticator.identify(Credentials("", admin_key, "192.0.2.7"))

    began = time.monotonic()
    for _ in range(100 * BAD_KEYS):
        with pytest.raises(ServiceError):
            authenticator.identify(Credentials("", f"{ApiKeyText.generate()}", "192.0.2.7"))

    looked_up = [sql for sql in proxy.statements if "find_api_key" in sql]
    seconds = int(time.monotonic() - began) + 2  # the first and the last are not whole
    assert len(looked_up) <= 1 + BAD_KEYS + LOOK_UPS_A_SECOND * seconds
    assert authenticator.identify(Credentials("", admin_key, "192.0.2.7")), "a key that was good before is never slowed"


def test_guesses_at_the_secret_of_a_key_in_use_cost_no_look_up(
    proxied: tuple[Authenticator, PostgresProxy], admin_key: str
) -> None:
    authenticator, proxy = proxied
    authenticator.identify(Credentials("", admin_key, "192.0.2.8"))
    time.sleep(KEPT_SECONDS)  # now a good one is looked up again
    proxy.sent.clear()

    for number in range(50):
        guess = f"{ApiKeyText(admin_key.split('_')[1], ApiKeyText.generate().secret)}"
        with pytest.raises(Unauthenticated):
            authenticator.identify(Credentials("", guess, f"192.0.2.{number}"))

    assert proxy.statements == []


def test_a_key_and_a_token_together_are_refused(guarded: Platform, admin_key: str) -> None:
    for authorization in (f"Bearer {admin_key}", "Bearer x.y.z", "Basic Zm9vOmJhcg==", "Bearer", ""):
        headers = {"X-API-Key": admin_key, "Authorization": authorization}
        assert requests.get(f"{guarded.url}/api/v1/images", headers=headers, timeout=30).status_code == 401
    twice = {"X-API-Key": f"{admin_key},{admin_key}"}
    assert requests.get(f"{guarded.url}/api/v1/images", headers=twice, timeout=30).status_code == 401


def run(guarded: Platform, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shared_lib.commands.api_keys", *words]
    environ = ENVIRONMENT | guarded.environment
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_operators_manage_keys_with_a_command(guarded: Platform, call: Call) -> None:
    key = run(guarded, "create", "by hand", "--role", "viewer", "--scope", "images:read", "--days", "1").stdout.strip()
    key_id = key.split("_")[1]
    assert call("GET", "/images", key).status_code == 200

    successor = run(guarded, "rotate", key_id, "--overlap", "1").stdout.strip()
    assert call("GET", "/images", successor).status_code == 200
    assert run(guarded, "revoke", key_id).returncode == 0
    listed = run(guarded, "list").stdout
    assert any(line.startswith(key_id) and "revoked" in line and "by hand" in line for line in listed.splitlines())
    assert key not in listed

    missing = run(guarded, "revoke", "0000000000")
    assert (missing.returncode, missing.stderr.splitlines()[-1]) == (1, "api_keys: API key not found")
    assert run(guarded, "create", "x", "--role", "owner").returncode == 2
    assert run(guarded, "create", "x", "--role", "viewer", "--days", "366").returncode == 2
