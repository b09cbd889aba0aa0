"""Reading, listing and deleting images."""

import re
import uuid
from typing import TYPE_CHECKING

import pytest
from service import WHOLE, Api, make_photo, wait_for

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def three(api: Api) -> list[str]:
    """Upload three images, and return their uuids, oldest first, once they have succeeded."""
    uuids = []
    for name in ("100%_one.jpg", "two.jpg", "THREE.jpg"):
        uuids.append(api.upload(make_photo(), name, description=f"listed {name}"))
        api.await_end(uuids[-1])
    return uuids


def test_an_image_object_is_as_in_the_contract(api: Api, three: list[str]) -> None:
    image = api("GET", f"/images/{three[0]}").json()

    assert image.keys() == {
        "uuid", "filename", "description", "status", "createdAt", "completedAt", "collectionId", "imageData",
        "contentType", "sizeBytes", "width", "height", "renditions", "error", "attempts",
        "sha256", "metadata", "pendingRenditions", "failedRenditions",
    }  # fmt: skip
    assert TIME.fullmatch(image["createdAt"])
    assert TIME.fullmatch(image["completedAt"])
    assert image["collectionId"] is None


def test_a_list_of_images_is_a_bare_array_newest_first(api: Api, three: list[str]) -> None:
    listed = api("GET", "/images?search=listed").json()

    assert [image["uuid"] for image in listed] == list(reversed(three))
    assert all("imageData" in image for image in listed)
    assert [image["uuid"] for image in api("GET", "/images?search=listed&sort=asc").json()] == three


def test_a_list_can_leave_thumbnails_out(api: Api, three: list[str]) -> None:
    assert three
    assert all("imageData" not in image for image in api("GET", "/images?include=none").json())


def test_a_page_of_images_has_its_total_and_links_to_other_pages(api: Api, three: list[str]) -> None:
    response = api("GET", "/images?search=listed&limit=1&page=2")

    assert [image["uuid"] for image in response.json()] == [three[1]]
    assert response.headers["X-Total-Count"] == "3"
    links = {rel: requests_link["url"] for rel, requests_link in response.links.items()}
    assert links.keys() == {"first", "prev", "next", "last"}
    assert "page=3" in links["next"]
    assert "page=1" in links["prev"]
    assert "search=listed" in links["last"]


@pytest.mark.parametrize(("search", "found"), [("three", 1), ("%", 1), ("_", 1), ("100%_o", 1), ("LISTED two", 1)])
def test_search_is_literal_and_ignores_case(api: Api, three: list[str], search: str, found: int) -> None:
    assert three
    images = api("GET", "/images", params={"search": search, "limit": 100}).json()
    assert len([image for image in images if (image["description"] or "").startswith("listed")]) == found


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("page=0", "page"),
        ("page=x", "page"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("sort=up", "sort"),
        ("sortBy=size", "sortBy"),
        ("status=awaiting_upload", "status"),
        ("status=nonsense", "status"),
        ("include=everything", "include"),
        ("search=%00", "search"),
        ("page=1&page=2", "page"),
    ],
)
def test_an_invalid_query_names_the_parameter(api: Api, query: str, parameter: str) -> None:
    response = api("GET", f"/images?{query}")

    assert response.status_code == 400
    assert response.json()["code"] == "invalid_input"
    assert response.json()["details"][0]["parameter"] == parameter
    assert parameter in response.json()["error"]


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ("status=gone", "must be all, or some of "),
        ("uuids=1,2", "must be 1 to 100 UUIDs, separated by commas"),
        ("sha256=1", "must be 1 to 100 SHA-256 in hexadecimal, separated by commas"),
    ],
)
def test_the_error_of_a_text_says_in_words_what_it_must_be(api: Api, query: str, rule: str) -> None:
    [detail] = api("GET", f"/images?{query}").json()["details"]

    assert detail["message"].startswith(rule)


def test_an_unknown_image_is_404(api: Api) -> None:
    for method in ("GET", "DELETE"):
        response = api(method, f"/images/{uuid.uuid4()}")
        assert response.status_code == 404
        assert response.json()["error"] == "Image not found"


def test_an_image_id_that_is_not_a_uuid_is_400(api: Api) -> None:
    response = api("GET", "/images/not-a-uuid")

    assert response.status_code == 400
    assert response.json()["details"][0]["parameter"] == "uuid"


def test_a_deleted_image_leaves_nothing_in_the_store(api: Api, s3: "S3Client") -> None:
    uuid = api.upload(make_photo(), renditions=WHOLE)
    original = f"originals/{api.await_end(uuid)['sha256']}.jpg"
    assert s3.list_objects_v2(Bucket="completed-images", Prefix=uuid)["KeyCount"] == 1

    response = api("DELETE", f"/images/{uuid}")

    assert (response.status_code, response.json()) == (200, {"message": "Image deleted"})
    assert api("GET", f"/images/{uuid}").status_code == 404
    assert api("DELETE", f"/images/{uuid}").status_code == 404

    def count_objects() -> int:
        listings = [s3.list_objects_v2(Bucket="completed-images", Prefix=prefix) for prefix in (uuid, original)]
        return sum(listing["KeyCount"] for listing in listings)

    # A listing may show a deleted object for a moment. Nothing would delete one that is left later.
    wait_for(count_objects, lambda count: count == 0, 5)


def test_the_objects_in_the_store_match_the_image_object(api: Api, s3: "S3Client") -> None:
    photo = make_photo()
    image = api.await_end(api.upload(photo, renditions=WHOLE))

    stored = {
        each["Key"]: s3.get_object(Bucket="completed-images", Key=each["Key"])
        for prefix in (f"originals/{image['sha256']}.jpg", image["uuid"])
        for each in s3.list_objects_v2(Bucket="completed-images", Prefix=prefix)["Contents"]
    }

    original, whole = (each["Body"].read() for each in stored.values())
    assert original == photo
    assert len(whole) == image["renditions"][1]["sizeBytes"]
    assert {each["ContentType"] for each in stored.values()} == {"image/jpeg"}
    assert s3.list_objects_v2(Bucket="upload-images", Prefix=image["uuid"])["KeyCount"] == 0
