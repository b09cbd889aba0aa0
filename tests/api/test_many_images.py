"""Changing one image, and deleting, moving and asking for many at once."""

import hashlib
from typing import Any
from uuid import uuid4

import pytest
from service import Api, make_photo, wait_for

PHOTO = make_photo()


@pytest.fixture(scope="module")
def image(api: Api) -> str:
    uuid = api.upload(PHOTO, "before.jpg", description="As it was")
    assert api.await_end(uuid)["status"] == "succeeded"
    return uuid


def make_collection(api: Api) -> str:
    uuid: str = api("POST", "/collections", json={"name": "Holidays"}).json()["data"]["uuid"]
    return uuid


def test_an_image_is_renamed_and_described_field_by_field(api: Api, image: str) -> None:
    def patch(**changes: str | None) -> tuple[str, str | None]:
        response = api("PATCH", f"/images/{image}", json=changes)
        assert response.status_code == 200
        assert response.json() == api("GET", f"/images/{image}").json()
        return response.json()["filename"], response.json()["description"]

    assert patch(filename="after.jpg") == ("after.jpg", "As it was")
    assert patch(description="As it is") == ("after.jpg", "As it is")
    assert patch() == ("after.jpg", "As it is")
    assert patch(description=None) == ("after.jpg", None)
    headers = {"Content-Type": "application/merge-patch+json"}
    merged = api("PATCH", f"/images/{image}", data='{"description": "Ä"}'.encode(), headers=headers)
    assert merged.json()["description"] == "Ä"
    assert [each["uuid"] for each in api("GET", "/images?search=after.jpg").json()] == [image]


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"filename": None}, "filename"),
        ({"filename": ""}, "filename"),
        ({"filename": "x" * 256}, "filename"),
        ({"filename": "a\nb.jpg"}, "filename"),
        ({"description": "x" * 10_001}, "description"),
        ({"description": "a\x00b"}, "description"),
        ({"status": "failed"}, "status"),
    ],
)
def test_a_change_that_is_not_valid_names_the_field(api: Api, image: str, change: Any, parameter: str) -> None:
    before = api("GET", f"/images/{image}").json()

    response = api("PATCH", f"/images/{image}", json={"description": "changed"} | change)

    assert response.status_code == 400
    assert [each["parameter"] for each in response.json()["details"]] == [parameter]
    assert api("GET", f"/images/{image}").json() == before


def test_many_images_are_asked_for_by_uuid_whatever_their_status(api: Api, image: str) -> None:
    failed = api.upload(PHOTO[:1000], "broken.jpg")
    api.await_end(failed)
    asked = [failed, f"{uuid4()}", image, failed]

    response = api("GET", f"/images?uuids={','.join(asked)}&include=none")

    assert [(each["uuid"], each["status"]) for each in response.json()] == [(failed, "failed"), (image, "succeeded")]
    assert "imageData" not in response.json()[1]
    assert "imageData" in api("GET", f"/images?uuids={image}").json()[0]
    assert api("GET", f"/images?uuids={uuid4()}").json() == []


def test_images_with_the_same_bytes_are_found_by_their_checksum(api: Api, image: str) -> None:
    data = make_photo(40, 30)
    older, newer = (api.upload(data, f"{name}.jpg") for name in ("older", "newer"))
    for uuid in (older, newer):
        api.await_end(uuid)
    digest, other = hashlib.sha256(data).hexdigest(), api("GET", f"/images/{image}").json()["sha256"]

    def find(query: str) -> set[str]:
        return {each["uuid"] for each in api("GET", f"/images?include=none&{query}").json()}

    assert find(f"sha256={digest}") == {newer}
    assert find(f"sha256={digest.upper()},{other},{'0' * 64}") >= {newer}
    assert find(f"sha256={digest}&status=failed") == set()
    api("DELETE", f"/images/{newer}")
    assert find(f"sha256={digest}") == {older}
    refused = api("GET", "/images?sha256=abc")
    assert (refused.status_code, refused.json()["details"][0]["parameter"]) == (400, "sha256")


@pytest.mark.parametrize("uuids", ["x", "", ",".join(f"{uuid4()}" for _ in range(101))])
def test_uuids_that_are_none_or_too_many_are_refused(api: Api, uuids: str) -> None:
    response = api("GET", f"/images?uuids={uuids}")

    assert (response.status_code, response.json()["details"][0]["parameter"]) == (400, "uuids")


def test_many_images_are_deleted_at_once_and_those_that_are_gone_are_named(api: Api) -> None:
    uuids = [api.upload(PHOTO, f"{number}.jpg") for number in range(3)]
    unknown = f"{uuid4()}"

    response = api("POST", "/images/actions/delete", json={"uuids": [*uuids, unknown, uuids[0]]})

    failure = {"uuid": unknown, "error": "Image not found", "code": "image_not_found"}
    assert (response.status_code, response.json()) == (200, {"done": uuids, "failed": [failure]})
    assert api("GET", f"/images?uuids={','.join(uuids)}").json() == []
    again = api("POST", "/images/actions/delete", json={"uuids": uuids}).json()
    assert (again["done"], [each["uuid"] for each in again["failed"]]) == ([], uuids)


def test_many_images_are_moved_into_a_collection_and_out_of_it(api: Api, image: str) -> None:
    other = api.upload(PHOTO, "other.jpg")
    first, second, unknown = make_collection(api), make_collection(api), f"{uuid4()}"

    def move(to: str | None) -> dict[str, Any]:
        moved: dict[str, Any] = api(
            "POST", "/images/actions/move", json={"uuids": [image, unknown, other], "collectionId": to}
        ).json()
        return moved

    def members(collection: str) -> int:
        count: int = api("GET", f"/collections/{collection}").json()["data"]["imageCount"]
        return count

    for target, counts in ((first, (2, 0)), (second, (0, 2)), (second, (0, 2)), (None, (0, 0))):
        assert move(target)["done"] == [image, other]
        assert [each["uuid"] for each in move(target)["failed"]] == [unknown]
        assert (members(first), members(second)) == counts


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("delete", {"uuids": []}),
        ("delete", {"uuids": [f"{uuid4()}" for _ in range(101)]}),
        ("move", {"uuids": [f"{uuid4()}"]}),
        ("move", {"uuids": ["x"], "collectionId": None}),
    ],
)
def test_a_list_that_is_empty_or_too_long_is_refused(api: Api, action: str, body: Any) -> None:
    assert api("POST", f"/images/actions/{action}", json=body).status_code == 400


def test_the_objects_of_deleted_images_leave_the_store(api: Api, s3: Any) -> None:
    uuids = [api.upload(make_photo(64, 48 + number), f"{number}.jpg") for number in range(2)]
    for uuid in uuids:
        api.await_end(uuid)
    api("POST", "/images/actions/delete", json={"uuids": uuids})

    def count_objects() -> int:
        prefixes = (f"{uuid}/" for uuid in uuids)
        return sum(s3.list_objects_v2(Bucket="completed-images", Prefix=each)["KeyCount"] for each in prefixes)

    wait_for(count_objects, lambda count: count == 0)
