"""Signed links are made by whom may share, recorded, good for a limited time, for one tenant, and revoked at once."""

import base64
import hmac
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
from postgres_proxy import PostgresProxy
from pydantic import SecretStr
from service import Api, Platform, connect, make_photo, run_command
from signed_urls import SETTING, make_token, sign

from shared_lib import settings
from shared_lib.database.connection import Database
from shared_lib.delivery.signatures import UrlKeys, choose_issue_time
from shared_lib.errors import Forbidden
from shared_lib.repositories.deliveries import Deliveries

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def tenant(guarded: Platform) -> tuple[str, Api]:
    """A tenant whose links no other test revokes, and its admin."""
    name = f"t-{uuid4().hex[:8]}"
    made = run_command(guarded, "tenants", "create", name)
    assert made.returncode == 0, made.stderr
    return name, connect(guarded, made.stdout.strip())


@pytest.fixture(scope="module")
def image(tenant: tuple[str, Api]) -> str:
    _, admin = tenant
    uuid = admin.upload(make_photo(640, 480))
    admin.await_end(uuid)
    return uuid


@pytest.fixture(scope="module")
def status_of(guarded: Platform) -> Callable[[str], tuple[int, str]]:
    def get(path: str) -> tuple[int, str]:
        answer = requests.get(guarded.url + path[path.index("/i/") :], timeout=60)
        return answer.status_code, "" if answer.ok else answer.json()["code"]

    return get


def make_link(admin: Api, image: str, **order: object) -> Answer:
    response = admin("POST", f"/images/{image}/actions/sign", json={"options": "w=40"} | order)
    assert response.status_code == 200, response.text
    answer: Answer = response.json()
    return answer


def test_whoever_may_only_read_makes_no_link(guarded: Platform, admin: Api, make_key: Callable[..., str]) -> None:
    uuid = admin.upload(make_photo())
    admin.await_end(uuid)

    for role, status in (("viewer", 403), ("editor", 200)):
        caller = connect(guarded, make_key(role))
        assert caller("POST", f"/images/{uuid}/actions/sign", json={"options": "w=20"}).status_code == status


def test_a_link_ends_within_a_year_also_if_nobody_says_when(tenant: tuple[str, Api], image: str) -> None:
    link = make_link(tenant[1], image)

    ends = datetime.fromisoformat(link["expiresAt"]) - datetime.now(UTC)
    assert timedelta(days=363) < ends <= timedelta(days=365)
    assert f",exp={int(datetime.fromisoformat(link['expiresAt']).timestamp())}/" in link["url"]
    assert make_link(tenant[1], image)["url"] == link["url"], "caches know it"


def test_the_operator_limits_how_long_links_are_good(guarded: Platform, tenant: tuple[str, Api]) -> None:
    with pytest.raises(ValueError, match="less than or equal to 31536000"):
        settings.Delivery(max_lifetime_seconds=31_536_001)
    refused = tenant[1]("POST", f"/images/{uuid4()}/actions/sign", json={"options": "w=40", "expiresIn": 31_536_001})
    assert refused.status_code == 400


def test_each_link_is_recorded_without_what_makes_it_good(tenant: tuple[str, Api], image: str) -> None:
    _, admin = tenant
    link = make_link(admin, image, options="w=41", expiresIn=60)
    allowed = {"covers": "image", "widths": [41]}
    token = make_link(admin, image, options=None, capability=allowed)["token"]

    by_token, by_url = admin("GET", "/audit-events", params={"subject": image, "action": "link_signed"}).json()["data"][
        :2
    ]

    assert (by_url["details"]["options"], by_url["details"]["expires_at"][:10]) == ("w=41", link["expiresAt"][:10])
    assert by_token["details"]["capability"]["widths"] == [41]
    secrets = [link["url"].split("/i/")[1].split("/")[0].rpartition(".")[2], token.rpartition(".")[2]]
    assert not [each for each in secrets if each in json.dumps([by_url, by_token])]


def test_a_tenant_revokes_all_links_at_once_and_makes_new_ones(
    guarded: Platform, admin: Api, tenant: tuple[str, Api], image: str, status_of: Callable[[str], tuple[int, str]]
) -> None:
    name, owner = tenant
    allowed = {"covers": "image", "widths": [42]}
    of_another = admin.upload(make_photo())
    admin.await_end(of_another)
    others = make_link(admin, of_another)["url"]
    earlier = [
        make_link(owner, image, options="w=42")["url"],
        make_link(owner, image, options=None, capability=allowed)["url"],
        sign(f"/w=43/{image}"),
        f"/i/{make_token({'image': image, 'widths': [44]})}/w=44/{image}",
    ]
    assert [status_of(url) for url in (*earlier, others)] == [(200, "")] * 5

    revoked = run_command(guarded, "tenants", "revoke-links", name)

    assert revoked.returncode == 0, revoked.stderr
    assert re.fullmatch(r"Links that were signed before [0-9: -]+ UTC are revoked\n", revoked.stdout)
    assert [status_of(url) for url in earlier] == [(403, "link_revoked")] * 4
    assert status_of(others) == (200, "")
    later = make_link(owner, image, options="w=42")["url"]
    assert later not in earlier
    assert status_of(later) == (200, "")
    [recorded] = owner("GET", "/audit-events", params={"action": "links_revoked"}).json()["data"]
    assert (recorded["principal"], recorded["subject"]) == ("operator", name)


def test_a_tenants_own_key_signs_for_its_images_and_no_others(
    guarded: Platform, admin: Api, tenant: tuple[str, Api], status_of: Callable[[str], tuple[int, str]]
) -> None:
    name, owner = tenant
    own, foreign = owner.upload(make_photo()), admin.upload(make_photo())
    owner.await_end(own)
    admin.await_end(foreign)
    made = run_command(guarded, "tenants", "link-key", name, environ={"DELIVERY_KEYS": SETTING})
    key_id, _, key = made.stdout.strip().partition(":")
    now = int(datetime.now(UTC).timestamp()) + 1

    def sign_by_hand(uuid: str, whose: str = name) -> str:
        head, path = f"{key_id}~{whose}~{now}", f"/w=45/{uuid}"
        digest = hmac.digest(bytes.fromhex(key), f"{head}{path}".encode(), "sha256")
        return f"/i/{head}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}{path}"

    assert status_of(sign_by_hand(own)) == (200, "")
    assert status_of(sign_by_hand(foreign)) == (404, "image_not_found")
    assert status_of(sign_by_hand(foreign, "default")) == (403, "signature_refused")
    assert status_of(sign_by_hand(own).replace(own, foreign)) == (403, "signature_refused")
    assert status_of(sign_by_hand(own).replace(f"~{now}.", f"~{now + 1}.")) == (403, "signature_refused")


def test_a_service_can_refuse_signatures_that_are_good_for_all_tenants() -> None:
    keys = UrlKeys(
        settings.Delivery.model_validate({"keys": SETTING, "shared_signatures": False}), allow_unsigned=False
    )
    path, token = "/w=1/x", make_token({"image": f"{uuid4()}", "widths": [1]})
    for shared in (sign(path).split("/")[2], token):
        with pytest.raises(Forbidden):
            keys.check(shared, path)

    assert keys.check(keys.sign(path, "acme", 7), path).tenant == "acme"


@pytest.mark.parametrize(
    "head", ["new~acme", "new~acme~", "new~~7", "new~acme~7~8", "new~Acme~7", "new~acme~-7", "~acme~7"]
)
def test_a_signature_that_names_no_tenant_and_time_is_refused(head: str) -> None:
    keys = UrlKeys(settings.Delivery.model_validate({"keys": SETTING}), allow_unsigned=False)

    with pytest.raises(Forbidden, match="doesn't belong"):
        keys.check(f"{head}.{keys.sign('/w=1/x', 'acme', 7).rpartition('.')[2]}", "/w=1/x")


def test_what_is_signed_after_a_revocation_is_not_revoked() -> None:
    now = datetime.now(UTC)

    for since in (now, now + timedelta(milliseconds=999), now - timedelta(days=2)):
        assert choose_issue_time(since) >= since.timestamp() or since < now - timedelta(days=1)
    assert choose_issue_time(None) <= now.timestamp() < choose_issue_time(None) + 86_400


@pytest.fixture
def counted(guarded: Platform) -> Iterator[PostgresProxy]:
    with PostgresProxy(guarded.environment["DATABASE_DELIVERY_URL"]) as proxy:
        yield proxy
        proxy.shutdown()


def test_whether_a_link_is_revoked_costs_no_round_trip(counted: PostgresProxy, image: str) -> None:
    database = Database(settings.Database(url=SecretStr(counted.url)))
    deliveries = Deliveries(database, settings.NO_QUOTAS)
    deliveries.find_both(UUID(image), "0" * 40)
    before = counted.round_trips

    found, _ = deliveries.find_both(UUID(image), "0" * 40)

    assert counted.round_trips == before + 1
    assert found.links_since is None or found.links_since < datetime.now(UTC)
    database.disconnect()
