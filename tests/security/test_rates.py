"""How many requests and uploads a caller may begin, and how many images and bytes there may be."""

import re
import time
from collections.abc import Callable, Iterator

import pytest
import requests
from service import Platform, make_keys_of, make_photo, start_platform

from shared_lib.domain.rates import WINDOW_SECONDS

REQUESTS, UPLOADS = 30, 6
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


def test_a_caller_gets_no_more_requests_than_its_rate_and_is_told_when_to_go_on(call: Call) -> None:
    started = time.monotonic()
    answers = [call("GET", "/images?limit=1") for _ in range(REQUESTS + 5)]
    elapsed = time.monotonic() - started

    granted = [each for each in answers if each.status_code == 200]
    assert REQUESTS <= len(granted) <= REQUESTS + elapsed * REQUESTS / WINDOW_SECONDS + 1
    assert granted[0].headers["RateLimit-Policy"] == f'"requests";q={REQUESTS};w=60'
    assert granted[0].headers["RateLimit"] == f'"requests";r={REQUESTS - 1};t=2'
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
    assert re.fullmatch(r'"requests";r=\d+;t=\d+, "uploads";r=0;t=\d+', answers[-1].headers["RateLimit"])
    assert call("GET", "/images?limit=1").status_code == 200


def test_a_quota_of_bytes_counts_what_is_announced_and_deletion_frees_it(
    call: Call, guarded: Platform, make_key: MakeKey
) -> None:
    sized = {"extension": "jpg", "sizeBytes": LARGEST}
    first = call("POST", "/images/actions/upload-url", json=sized)
    second = call("GET", "/images/actions/upload-url?extension=jpg")
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
