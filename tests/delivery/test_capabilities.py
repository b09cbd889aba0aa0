"""Tokens: whoever has one writes URLs of the images, and in the sizes and formats, that it names, and of no others."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
import requests
from published import is_made
from pydantic import SecretStr
from service import Api, Platform, make_photo
from signed_urls import KEYS, make_token

from shared_lib import settings
from shared_lib.database.connection import Database

Get = Callable[[str], requests.Response]


@pytest.fixture(scope="module")
def images(admin: Api) -> list[str]:
    """Upload harbor-1.jpg, harbor-2.jpg and other.jpg. The first is in a collection."""
    uuids = [admin.upload(make_photo(640, 480), name) for name in ("harbor-1.jpg", "harbor-2.jpg", "other.jpg")]
    for each in uuids:
        admin.await_end(each)
    return uuids


@pytest.fixture(scope="module")
def collection(admin: Api, images: list[str]) -> str:
    uuid: str = admin("POST", "/collections", json={"name": "harbors"}).json()["data"]["uuid"]
    members = {"data": [{"type": "images", "uuid": images[0]}]}
    assert admin("POST", f"/collections/{uuid}/relationships/images", json=members).status_code == 200
    return uuid


@pytest.fixture(scope="module")
def get(guarded: Platform) -> Get:
    """Request a URL by its part after `/i/`."""
    return lambda rest: requests.get(f"{guarded.url}/i/{rest}", timeout=60)


@pytest.mark.parametrize("key", KEYS)
def test_a_token_allows_each_rung_of_its_ladder_and_each_preset_by_every_key(
    get: Get, images: list[str], key: str
) -> None:
    image = images[0]
    token = make_token({"image": image, "widths": [32, 64], "presets": ["small"], "formats": ["auto", "webp"]}, key)

    for allowed in ("w=32/{}.auto", "w=32,dpr=2/{}.webp", "small/{}.webp", "w=64,download=1/{}.auto"):
        assert get(f"{token}/{allowed.format(image)}").status_code == 200, allowed
    for refused in (
        "w=33/{}.auto",
        "w=64,dpr=2/{}.auto",
        "h=32/{}.auto",
        "w=32,h=32/{}.auto",
        "w=32,q=50/{}.auto",
        "w=32,blur=2/{}.auto",
        "w=32,fallback=original/{}.auto",
        "q=50/{}.auto",
        "medium/{}.webp",
        "original/{}",
        "w=32/{}.jpg",
        "w=32/{}",
    ):
        response = get(f"{token}/{refused.format(image)}")
        assert (response.status_code, response.json()["code"]) == (403, "not_covered"), refused


@pytest.mark.parametrize("named", ["jpg", "jpeg", "JPG"])
def test_a_token_allows_a_format_by_each_of_its_extensions(get: Get, images: list[str], named: str) -> None:
    token = make_token({"image": images[0], "widths": [32], "formats": [named]})

    assert [get(f"{token}/w=32/{images[0]}.{each}").status_code for each in ("jpg", "jpeg", "JPG")] == [200] * 3
    assert get(f"{token}/w=32/{images[0]}.webp").status_code == 403


def test_a_token_is_about_its_image_its_collection_or_its_prefix(get: Get, images: list[str], collection: str) -> None:
    def statuses(**covered: str) -> list[int]:
        token = make_token({**covered, "widths": [32]})
        return [get(f"{token}/w=32/{each}").status_code for each in images]

    assert statuses(image=images[1]) == [403, 200, 403]
    assert statuses(collection=collection) == [200, 404, 404]
    assert statuses(prefix="harbor-") == [200, 200, 404]
    assert statuses(prefix="harbor-", collection=collection) == [200, 404, 404]
    assert statuses(prefix="harbor-", tenant="another") == [404, 404, 404]
    assert statuses(collection=f"{uuid4()}") == [404, 404, 404]


def test_a_token_of_which_any_character_differs_is_refused(get: Get, images: list[str]) -> None:
    token = make_token({"image": images[0], "widths": [32]})
    for place, character in enumerate(token):
        other = "A" if character != "A" else "B"
        refused = get(f"{token[:place]}{other}{token[place + 1 :]}/w=32/{images[0]}")
        assert (refused.status_code, refused.json()["code"]) == (403, "signature_refused"), place


def test_a_token_expires_and_caches_are_told_when(get: Get, images: list[str]) -> None:
    def make(seconds: int) -> requests.Response:
        token = make_token({"image": images[0], "widths": [32], "exp": int(time.time()) + seconds})
        return get(f"{token}/w=32/{images[0]}")

    assert 0 < int(make(60).headers["Cache-Control"].removeprefix("public, max-age=")) <= 60
    assert (make(-1).status_code, make(-1).json()["code"]) == (403, "url_expired")


def test_a_flood_of_urls_that_nobody_signed_or_that_are_off_the_ladder_makes_nothing(
    guarded: Platform, get: Get, images: list[str]
) -> None:
    image = images[2]
    token = make_token({"image": image, "widths": [640]})
    assert get(f"{token}/w=640/{image}").status_code == 200
    before = count_deliveries(guarded, image)

    def request(number: int) -> tuple[int, bool]:
        rest = (f"unsafe/w={number}/{image}", f"new.AAAA/w={number}/{image}", f"{token}/w={number}/{image}")[number % 3]
        response = get(rest)
        return response.status_code, response.headers["Cache-Control"] == "public, max-age=60"

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(request, range(1, 301))) == {(403, True)}
    assert count_deliveries(guarded, image) == before == 1
    assert not is_made(get(f"{token}/w=640/{image}"))


def count_deliveries(guarded: Platform, image: str) -> int:
    database = Database(settings.Database(url=SecretStr(guarded.environment["DATABASE_URL"])))
    with database.transaction() as tx:
        count = len(tx.rows("SELECT 1 FROM deliveries WHERE image_id = :image", image=image))
    database.disconnect()
    return count


@pytest.mark.parametrize(
    "allowed",
    [{}, [], {"widths": [32]}, {"prefix": "x"}, {"image": "x", "widths": [32]}, {"prefix": "", "widths": [1]}],
)
def test_a_signed_token_that_allows_nothing_in_particular_is_refused(
    get: Get, images: list[str], allowed: object
) -> None:
    response = get(f"{make_token(allowed)}/w=32/{images[0]}")

    assert (response.status_code, response.json()["code"]) == (403, "token_invalid")


def test_the_service_makes_tokens_for_whoever_may_read_the_image(
    admin: Api, get: Get, images: list[str], collection: str
) -> None:
    def order(image: str, **capability: object) -> requests.Response:
        body = {"capability": capability, "expiresIn": 600}
        return admin("POST", f"/images/{image}/actions/sign", json=body)

    made = order(images[0], covers="collection", widths=[32, 64], formats=["auto"])

    assert made.status_code == 200, made.text
    assert requests.get(made.json()["url"], timeout=60).status_code == 200
    token = made.json()["token"]
    assert get(f"{token}/w=64/{images[0]}.auto").status_code == 200
    assert get(f"{token}/w=64/{images[1]}.auto").status_code == 404
    by_prefix = order(images[1], prefix="harbor-", presets=["small"]).json()["token"]
    assert [get(f"{by_prefix}/small/{each}").status_code for each in images] == [200, 200, 404]
    assert order(images[1], covers="collection", widths=[32]).status_code == 400
    assert order(images[1], prefix="other", widths=[32]).status_code == 400
    assert order(images[1]).status_code == 400
    assert order(images[1], presets=["no-such-preset"]).status_code == 404
