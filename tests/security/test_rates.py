"""Limits on the requests and uploads that a caller begins, and on the images and bytes of a tenant."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
import requests
from pydantic import SecretStr
from service import Api, Platform, connect, make_keys_of, make_photo, run_command, start_platform, wait_for

from shared_lib import settings
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database
from shared_lib.domain.rates import WINDOW_SECONDS, Rate
from shared_lib.repositories.rates import Rates
from shared_lib.services.rate_limiting import RateLimiter

REQUESTS, UPLOADS, DECODER_SECONDS = 30, 6, 60
QUOTA, LARGEST = 1_000_000, 300_000
MakeKey = Callable[..., str]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A service of its own with low rates and a small quota."""
    running = start_platform(
        tmp_path_factory.mktemp("limited"),
        AUTH_MODE="required",
        RATE_REQUESTS_PER_MINUTE=f"{REQUESTS}",
        RATE_UPLOADS_PER_MINUTE=f"{UPLOADS}",
        RATE_TENANT_DECODER_SECONDS_PER_MINUTE=f"{DECODER_SECONDS}",
        QUOTA_BYTES=f"{QUOTA}",
        QUOTA_IMAGES="50",
        LIMITS_MAX_BYTES=f"{LARGEST}",
    )
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def make_key(guarded: Platform) -> MakeKey:
    return make_keys_of(guarded)


@pytest.fixture
def call(guarded: Platform, make_key: MakeKey) -> Callable[..., requests.Response]:
    """Call the API with a key that nobody has used."""
    key = make_key("editor")

    def send(method: str, path: str, **more: object) -> requests.Response:
        headers = {"X-API-Key": key}
        return requests.request(method, f"{guarded.url}/api/v1{path}", headers=headers, timeout=30, **more)  # type: ignore[arg-type]

    return send


Call = Callable[..., requests.Response]


@contextmanager
def open_worker(machine: Platform) -> Iterator[Rates]:
    """The rates of a service, as its worker has them."""
    database = Database(settings.Database(url=SecretStr(machine.environment["DATABASE_WORKER_URL"])))
    yield Rates(database)
    database.disconnect()


def test_a_caller_gets_no_more_requests_than_its_rate_and_is_told_when_to_go_on(call: Call) -> None:
    started = time.monotonic()
    answers = [call("GET", "/images?limit=1") for _ in range(REQUESTS + 5)]
    elapsed = time.monotonic() - started

    granted = [each for each in answers if each.status_code == 200]
    assert REQUESTS <= len(granted) <= REQUESTS + elapsed * REQUESTS / WINDOW_SECONDS + 1
    assert granted[0].headers["RateLimit-Policy"] == f'"requests";q={REQUESTS};w=60, "tenant-requests";q=12000;w=60'
    assert granted[0].headers["RateLimit"].startswith(f'"requests";r={REQUESTS - 1};t=2, "tenant-requests";r=')
    refused = answers[-1]
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_exceeded")
    assert refused.headers["RateLimit"].startswith('"requests";r=0;t=')
    assert int(refused.headers["Retry-After"]) <= 2
    time.sleep(int(refused.headers["Retry-After"]))
    assert call("GET", "/images?limit=1").status_code == 200


def test_each_caller_has_rates_of_its_own(call: Call, guarded: Platform, make_key: MakeKey) -> None:
    while call("GET", "/images?limit=1").status_code == 200:
        pass

    other = {"X-API-Key": make_key("viewer")}
    assert requests.get(f"{guarded.url}/api/v1/images", headers=other, timeout=30).status_code == 200
    assert requests.get(f"{guarded.url}/api/health", timeout=30).status_code == 200
    assert requests.get(f"{guarded.url}/api/v1/images", timeout=30).status_code == 401


def test_redrive_has_a_rate_as_any_request(guarded: Platform, make_key: MakeKey) -> None:
    url, headers = f"{guarded.url}/api/v1/operations/actions/redrive", {"X-API-Key": make_key("admin")}

    answers = [requests.post(url, json={"dryRun": True}, headers=headers, timeout=30) for _ in range(REQUESTS + 5)]

    assert answers[0].json() == {"images": 0, "mayHaveMore": False, "dryRun": True}
    assert (answers[-1].status_code, answers[-1].json()["code"]) == (429, "rate_exceeded")


def test_uploads_have_a_rate_besides(call: Call) -> None:
    announced = {"extension": "jpg", "sizeBytes": 1}

    answers = [call("POST", "/images/actions/upload-url", json=announced) for _ in range(UPLOADS + 1)]

    assert [each.status_code for each in answers] == [201] * UPLOADS + [429]
    assert answers[-1].json()["error"] == f"At most {UPLOADS} uploads a minute"
    rates = (
        r'"requests";r=\d+;t=\d+, "uploads";r=0;t=\d+, "decoder-seconds";r=600;t=0, '
        r'"tenant-requests";r=\d+;t=\d+, "tenant-uploads";r=\d+;t=\d+, "tenant-decoder-seconds";r=\d+;t=\d+'
    )
    assert re.fullmatch(rates, answers[-1].headers["RateLimit"])
    assert call("GET", "/images?limit=1").status_code == 200


def test_an_admin_with_many_keys_gets_no_more_than_the_tenants_rate_which_is_there_by_default(
    guarded: Platform,
) -> None:
    admin = connect(guarded, run_command(guarded, "tenants", "create", "has-many-keys").stdout.strip())
    made = [admin("POST", "/api-keys", json={"name": f"key {each}", "role": "editor"}).json() for each in range(5)]
    callers = [connect(guarded, each["data"]["key"]) for each in made]
    announced = {"extension": "jpg", "sizeBytes": 1}
    most, left = settings.Rates().tenant_uploads_per_minute, 2 * UPLOADS
    uploads = Rate("uploads", most, of_tenant=True)
    with open_worker(guarded) as rates:
        rates.charge("has-many-keys", "", [uploads], most - left)
    started = time.monotonic()

    answers = [
        caller("POST", "/images/actions/upload-url", json=announced) for _ in range(UPLOADS) for caller in callers
    ]

    granted = [each for each in answers if each.status_code == 201]
    elapsed = time.monotonic() - started
    assert left <= len(granted) <= left + elapsed / uploads.interval + 1
    assert {each.json()["error"] for each in answers if each not in granted} == {
        f"At most {most:,} uploads a minute of all callers of the tenant"
    }


def test_a_tenant_without_decoder_seconds_uploads_nothing_and_reads_on(guarded: Platform) -> None:
    headers = {"X-API-Key": run_command(guarded, "tenants", "create", "decodes-much").stdout.strip()}
    limits = settings.Rates(tenant_decoder_seconds_per_minute=DECODER_SECONDS)
    with open_worker(guarded) as rates:
        RateLimiter(limits, rates).charge_decoding("decodes-much", None, DECODER_SECONDS + 10)

    def ask(method: str, path: str, body: object = None) -> requests.Response:
        return requests.request(method, f"{guarded.url}/api/v1{path}", json=body, headers=headers, timeout=30)

    missing = f"/images/{uuid4()}/preview"
    refused = [
        ask("POST", "/images/actions/upload-url", {"extension": "jpg", "sizeBytes": 1}),
        ask("POST", "/images/actions/process", {"uuid": str(uuid4())}),
        ask("POST", missing, {}),
    ]
    assert {(each.status_code, each.json()["code"]) for each in refused} == {(429, "rate_exceeded")}
    sentence = f"At most {DECODER_SECONDS} decoder seconds a minute of all callers of the tenant"
    assert refused[0].json()["error"] == sentence
    assert int(refused[0].headers["Retry-After"]) > 1
    assert '"tenant-decoder-seconds";r=0;t=' in refused[0].headers["RateLimit"]
    assert ask("GET", "/images").status_code == 200


def test_what_a_caller_has_decoded_counts_for_that_caller_alone(guarded: Platform, make_key: MakeKey) -> None:
    caller, other = (connect(guarded, make_key("editor")) for _ in range(2))
    name = f"key:{str(caller.session.headers['X-API-Key']).split('_')[1]}"
    database = Database(settings.Database(url=SecretStr(guarded.environment["DATABASE_WORKER_URL"])))
    limiter = RateLimiter(settings.Rates(tenant_decoder_seconds_per_minute=0), Rates(database))

    def read(sql: str, **values: str) -> Any:
        with database.transaction() as tx:
            return next(iter(tx.rows(sql, **values)[0].values()))

    def read_bucket() -> datetime:
        full_at: datetime = read(
            "SELECT full_at FROM rates WHERE principal = :name AND name = 'decoder-seconds'", name=name
        )
        return full_at

    def announce(client: Api) -> requests.Response:
        return client("POST", "/images/actions/upload-url", json={"extension": "jpg", "sizeBytes": 1})

    limiter.charge_decoding("default", name, 500)  # a full bucket would be forgotten. This one is, 50 s later
    before = read_bucket()
    image = caller.upload(make_photo(60, 40))
    wait_for(
        lambda: read("SELECT status FROM images WHERE uuid = :uuid", uuid=image), lambda status: status == "succeeded"
    )
    processed = read_bucket()
    assert processed > before
    preview = {"operations": [{"kind": "resize", "width": 20}]}
    assert caller("POST", f"/images/{image}/preview", json=preview).status_code == 200
    assert read_bucket() > processed

    limiter.charge_decoding("default", name, 7000)
    database.disconnect()
    refused = announce(caller)
    assert (refused.status_code, refused.json()["error"]) == (429, "At most 600 decoder seconds a minute")
    assert '"decoder-seconds";r=0;t=' in refused.headers["RateLimit"]
    assert caller("GET", f"/images/{image}").status_code == 200
    assert announce(other).status_code == 201


def test_a_service_for_anonymous_callers_throttles_nobody(platform: Platform, api: Api) -> None:
    image = api.upload(make_photo())
    assert api.await_end(image)["status"] == "succeeded"
    limits = settings.Rates()
    used_up = [
        Rate("requests", limits.tenant_requests_per_minute, of_tenant=True),
        Rate("uploads", limits.tenant_uploads_per_minute, of_tenant=True),
        Rate("decoder-seconds", limits.tenant_decoder_seconds_per_minute, of_tenant=True),
    ]
    with open_worker(platform) as rates:
        for each in used_up:
            rates.charge(DEFAULT_TENANT, "", [each], 2 * each.most)
        upload = api("GET", "/images/actions/upload-url?extension=jpg")
        rendition = requests.get(f"{platform.url}/i/unsafe/w=33/{image}.webp", timeout=30)
        for each in used_up:
            rates.charge(DEFAULT_TENANT, "", [each], -2 * each.most)

    assert (upload.status_code, rendition.status_code) == (200, 200)
    assert "RateLimit" not in upload.headers


def test_a_quota_of_bytes_counts_what_is_announced_and_deletion_frees_it(
    call: Call, guarded: Platform, make_key: MakeKey
) -> None:
    sized = {"extension": "jpg", "sizeBytes": LARGEST}
    first = call("POST", "/images/actions/upload-url", json=sized)
    second = call("GET", f"/images/actions/upload-url?extension=jpg&sizeBytes={LARGEST}")
    third = call("POST", "/images/actions/multipart-upload", json=sized)
    assert [each.status_code for each in (first, second, third)] == [201, 200, 201]

    photo = make_photo(900, 900)
    assert len(photo) > QUOTA - 3 * LARGEST
    refused = [
        call("POST", "/images/actions/upload-url", json=sized),
        call("POST", "/images/actions/upload", files={"file": ("a.jpg", photo, "image/jpeg")}),
        call("POST", "/images/actions/multipart-upload", json=sized),
    ]
    assert {(each.status_code, each.json()["code"]) for each in refused} == {(403, "quota_exceeded")}
    assert "1,000,000 bytes" in refused[0].json()["error"]

    editor = {"X-API-Key": make_key("editor")}
    for each in (first, second, third):
        url = f"{guarded.url}/api/v1/images/{each.json()['uuid']}"
        assert requests.delete(url, headers=editor, timeout=30).status_code == 200
    form = {"file": ("a.jpg", photo, "image/jpeg")}
    address = f"{guarded.url}/api/v1/images/actions/upload"
    assert requests.post(address, files=form, headers=editor, timeout=30).status_code == 200
