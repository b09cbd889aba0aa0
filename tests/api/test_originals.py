"""Downloading originals."""

import tracemalloc
from collections.abc import Callable
from uuid import uuid4

import pytest
import requests
from flask.testing import FlaskClient
from service import Api, make_photo

from shared_lib.runtime import Runtime
from shared_lib.web import save_as

PHOTO = make_photo()


@pytest.fixture(scope="module")
def path(api: Api) -> str:
    """Upload an image, and return the path of its original."""
    uuid = api.upload(PHOTO, "harbor.jpg")
    assert api.await_end(uuid)["status"] == "succeeded"
    return f"/images/{uuid}/original"


def test_an_original_is_downloaded_byte_for_byte_under_its_filename(api: Api, path: str) -> None:
    response = api("GET", path)

    assert (response.status_code, response.content) == (200, PHOTO)
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["Content-Length"] == f"{len(PHOTO)}"
    assert response.headers["Content-Disposition"] == "attachment; filename=harbor.jpg"
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["ETag"].startswith('"')
    unchanged = api("GET", path, headers={"If-None-Match": response.headers["ETag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")


@pytest.mark.parametrize(
    ("requested", "status", "expected"),
    [
        ("bytes=0-9", 206, PHOTO[:10]),
        ("bytes=100-", 206, PHOTO[100:]),
        ("bytes=-20", 206, PHOTO[-20:]),
        ("bytes=0-0,5-9", 200, PHOTO),
        (f"bytes={len(PHOTO)}-", 416, None),
    ],
    ids=["first", "rest", "last", "several", "none"],
)
def test_a_range_of_an_original_can_be_requested(
    api: Api, path: str, requested: str, status: int, expected: bytes | None
) -> None:
    part = api("GET", path, headers={"Range": requested})

    assert part.status_code == status
    if expected is None:
        assert part.headers["Content-Range"] == f"bytes */{len(PHOTO)}"
    else:
        assert part.content == expected
        assert (status == 206) == ("Content-Range" in part.headers)


def test_a_download_that_broke_off_is_continued(api: Api, path: str) -> None:
    head = api("HEAD", path)
    begun = api("GET", path, headers={"Range": "bytes=0-999"})
    rest = api("GET", path, headers={"Range": "bytes=1000-", "If-Range": begun.headers["ETag"]})

    assert int(head.headers["Content-Length"]) == len(PHOTO)
    assert begun.content + rest.content == PHOTO


@pytest.mark.parametrize(
    ("filename", "header"),
    [
        ("plain.jpg", "attachment; filename=plain.jpg"),
        ("two words.jpg", 'attachment; filename="two words.jpg"'),
        ('a "quoted" name.jpg', r'attachment; filename="a \"quoted\" name.jpg"'),
        ("Köln.jpg", "attachment; filename=Koln.jpg; filename*=UTF-8''K%C3%B6ln.jpg"),
        ("写真.jpg", "attachment; filename=.jpg; filename*=UTF-8''%E5%86%99%E7%9C%9F.jpg"),
        ("100% sure.jpg", "attachment; filename=\"100_ sure.jpg\"; filename*=UTF-8''100%25%20sure.jpg"),
        ("../../etc/passwd.jpg", "attachment; filename=.._.._etc_passwd.jpg"),
        ("a\r\nSet-Cookie: x=1.jpg", 'attachment; filename="a__Set-Cookie: x=1.jpg"'),
    ],
)
def test_any_filename_is_safe_in_the_header(filename: str, header: str) -> None:
    assert save_as(filename) == {"Content-Disposition": header}


@pytest.mark.parametrize(("name", "saved"), [("Möwe.jpg", "M%C3%B6we.jpg"), ("setup.exe", "setup.exe.jpg")])
def test_a_download_is_named_after_its_image_and_keeps_an_images_extension(
    api: Api, path: str, name: str, saved: str
) -> None:
    image = path.removesuffix("/original")
    assert api("PATCH", image, json={"filename": name}).status_code == 200

    assert api("HEAD", path).headers["Content-Disposition"].endswith(saved)


def test_only_a_processed_images_original_is_served(
    api: Api, rt: Runtime, load: Callable[[str], FlaskClient], path: str
) -> None:
    failed = api.upload(PHOTO[:1000], "broken.jpg")
    assert api.await_end(failed)["status"] == "failed"
    pending = uuid4()
    rt.images.create(pending, "pending.jpg", None, 1)
    client = load("get_original")

    for uuid, code in ((failed, "image_failed"), (pending, "image_pending"), (uuid4(), "image_not_found")):
        response = client.get(f"/api/v1/images/{uuid}/original")
        assert (response.status_code, response.json and response.json["code"]) == (404, code)
        assert ("Retry-After" in response.headers) == (code == "image_pending")
    rt.images.delete(pending)


def test_an_original_is_streamed_in_little_memory(api: Api, load: Callable[[str], FlaskClient]) -> None:
    large = make_photo(1800, 1800, "BMP")
    uuid = api.upload(large, "large.bmp")
    assert api.await_end(uuid)["status"] == "succeeded"
    client = load("get_original")
    client.get(f"/api/v1/images/{uuid}/original", buffered=False).close()  # loads modules
    tracemalloc.start()
    try:
        response = client.get(f"/api/v1/images/{uuid}/original", buffered=False)
        size = sum(map(len, response.iter_encoded()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size == len(large)
    assert peak < 2 * 2**20


def test_an_original_is_no_element_of_another_sites_page(api: Api, path: str) -> None:
    assert requests.get(api.base + path, timeout=10).headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("url", ["/api/v1/images/{}/original", "/i/unsafe/original/{}"])
def test_a_drawing_that_is_shown_on_our_origin_runs_and_sends_nothing(api: Api, url: str) -> None:
    uuid = api.upload(b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "form.svg")
    api.await_end(uuid)

    response = requests.get(api.base.removesuffix("/api/v1") + url.format(uuid), timeout=30)

    assert response.headers["Content-Type"].startswith("image/svg+xml")
    policy = response.headers["Content-Security-Policy"].split("; ")
    assert {"sandbox", "default-src 'none'", "base-uri 'none'", "form-action 'none'"} <= set(policy)
