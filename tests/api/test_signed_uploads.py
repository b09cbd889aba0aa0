"""Upload URLs with a signed size, type and checksum: the store accepts that file and no other."""

import hashlib
from concurrent import futures
from typing import Any

import pytest
import requests
from service import Api, make_photo

PATH = "/images/actions/upload-url"
PHOTO = make_photo()


def reserve(api: Api, **terms: Any) -> dict[str, Any]:
    response = api("POST", PATH, json={"extension": "jpg", **terms})
    assert response.status_code == 201, response.text
    reserved: dict[str, Any] = response.json()
    return reserved


def put(reserved: dict[str, Any], data: bytes = PHOTO, **headers: str) -> int:
    url = reserved["presignedUrl"]
    return requests.request(
        reserved["method"], url, data=data, headers=reserved["headers"] | headers, timeout=10
    ).status_code


def test_a_file_that_matches_its_reservation_becomes_an_image(api: Api) -> None:
    digest = hashlib.sha256(PHOTO).hexdigest()
    reserved = reserve(
        api, filename="pier.jpg", description="wood", contentType="image/jpeg", sizeBytes=len(PHOTO), sha256=digest
    )

    assert reserved["headers"].keys() == {"Content-Type", "x-amz-checksum-sha256", "If-None-Match"}
    assert put(reserved) == 200

    image = api.await_end(reserved["uuid"])
    assert (image["status"], image["filename"], image["description"]) == ("succeeded", "pier.jpg", "wood")
    assert (image["sha256"], image["sizeBytes"]) == (digest, len(PHOTO))


def test_a_reservation_without_terms_accepts_any_file(api: Api) -> None:
    reserved = reserve(api)

    assert reserved["headers"] == {}
    assert put(reserved, PHOTO, **{"Content-Type": "text/plain"}) == 200
    assert api.await_end(reserved["uuid"])["filename"] == f"{reserved['uuid']}.jpg"


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        (PHOTO + b"x", {}),
        (PHOTO[:-1], {}),
        (PHOTO, {"Content-Type": "image/png"}),
        (PHOTO[:-1] + b"x", {}),
        (PHOTO, {"x-amz-copy-source": "/completed-images/any"}),
        (PHOTO, {"x-amz-meta-more": "data"}),
        (PHOTO, {"x-amz-acl": "public-read"}),
    ],
    ids=["larger", "smaller", "other type", "other bytes", "copy", "metadata", "acl"],
)
def test_the_store_rejects_a_file_that_does_not_match_its_reservation(
    api: Api, data: bytes, headers: dict[str, str]
) -> None:
    digest = hashlib.sha256(PHOTO).hexdigest()
    reserved = reserve(api, contentType="image/jpeg", sizeBytes=len(PHOTO), sha256=digest)

    assert put(reserved, data, **headers) in (400, 403)
    assert api("GET", f"/images/{reserved['uuid']}").json()["code"] == "image_awaits_upload"


def test_a_url_for_a_file_of_known_size_takes_it_once(api: Api) -> None:
    reserved = reserve(api, sizeBytes=len(PHOTO))

    assert put(reserved, PHOTO, **{"If-None-Match": "any"}) == 403
    with futures.ThreadPoolExecutor() as pool:
        answers = sorted(pool.map(lambda _: put(reserved), range(4)))

    assert answers[0] == 200
    assert set(answers[1:]) <= {409, 412}
    assert api.await_end(reserved["uuid"])["status"] == "succeeded"


def test_a_plain_url_accepts_no_headers_that_change_what_a_put_does(api: Api) -> None:
    url = api("GET", f"{PATH}?extension=jpg").json()["presignedUrl"]

    for name, value in (("x-amz-copy-source", "/completed-images/any"), ("x-amz-tagging", "a=b")):
        assert requests.put(url, PHOTO, headers={name: value}, timeout=10).status_code == 403
    assert requests.get(url, timeout=10).status_code == requests.delete(url, timeout=10).status_code == 403


@pytest.mark.parametrize(
    ("terms", "status", "parameter"),
    [
        ({"extension": "exe"}, 400, "extension"),
        ({"sizeBytes": 0}, 400, "sizeBytes"),
        ({"sizeBytes": 200_000_000}, 413, None),
        ({"contentType": "text/html"}, 400, "contentType"),
        ({"contentType": "image/jpeg\r\nx-amz-acl: public-read"}, 400, "contentType"),
        ({"sha256": "abc"}, 400, "sha256"),
        ({"filename": ""}, 400, "filename"),
    ],
)
def test_invalid_terms_are_rejected(api: Api, terms: dict[str, Any], status: int, parameter: str | None) -> None:
    response = api("POST", PATH, json={"extension": "jpg", **terms})

    assert response.status_code == status
    if parameter:
        assert response.json()["details"][0]["parameter"] == parameter


def test_upload_urls_are_never_cached(api: Api) -> None:
    assert api("GET", f"{PATH}?extension=jpg").headers["Cache-Control"] == "no-store"
    assert api("POST", PATH, json={"extension": "jpg"}).headers["Cache-Control"] == "no-store"
