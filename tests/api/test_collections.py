"""Collections and their rules, also under concurrent requests."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from service import Api, make_photo


@pytest.fixture
def create(api: Api) -> Callable[..., dict[str, Any]]:
    def create(name: str = "Holidays", **more: Any) -> dict[str, Any]:
        response = api("POST", "/collections", json={"name": name, **more})
        assert response.status_code == 201, response.text
        created: dict[str, Any] = response.json()["data"]
        assert response.headers["Location"].endswith(f"/api/v1/collections/{created['uuid']}")
        return created

    return create


@pytest.fixture(scope="module")
def images(api: Api) -> list[str]:
    uuids = [api.upload(make_photo(), f"member-{number}.jpg") for number in range(4)]
    for each in uuids:
        api.await_end(each)
    return uuids


def refer(*uuids: str) -> dict[str, Any]:
    return {"data": [{"type": "images", "uuid": each} for each in uuids]}


def test_a_collection_object_is_as_in_the_contract(create: Callable[..., dict[str, Any]]) -> None:
    created = create(description="in the south")

    assert created.keys() == {"uuid", "name", "description", "createdAt", "updatedAt", "imageCount"}
    assert (created["name"], created["description"], created["imageCount"]) == ("Holidays", "in the south", 0)


def test_collections_can_be_paged_and_searched_by_name(api: Api, create: Callable[..., dict[str, Any]]) -> None:
    marker = uuid.uuid4().hex
    created = [create(f"{marker} {number}")["uuid"] for number in range(3)]

    response = api("GET", f"/collections?search={marker.upper()}&limit=2")

    assert [each["uuid"] for each in response.json()["data"]] == created[:0:-1]
    place = response.json()["meta"]["pagination"]
    assert place.pop("nextCursor") == response.headers["X-Next-Cursor"]
    assert place == {"page": 1, "limit": 2, "totalItems": 3, "totalItemsRelation": "eq", "totalPages": 2}


def test_a_patch_changes_only_the_given_fields(api: Api, create: Callable[..., dict[str, Any]]) -> None:
    path = f"/collections/{create(description='keep me')['uuid']}"

    renamed = api("PATCH", path, json={"name": "Renamed"}).json()["data"]
    assert (renamed["name"], renamed["description"]) == ("Renamed", "keep me")
    assert renamed["updatedAt"] > renamed["createdAt"]

    cleared = api("PATCH", path, json={"description": None}).json()["data"]
    assert (cleared["name"], cleared["description"]) == ("Renamed", None)


def test_images_can_be_added_moved_and_removed(
    api: Api, create: Callable[..., dict[str, Any]], images: list[str]
) -> None:
    first, second = create("First")["uuid"], create("Second")["uuid"]

    added = api("POST", f"/collections/{first}/relationships/images", json=refer(*images[:3]))
    assert (added.status_code, added.json()) == (200, {"meta": {"message": "Images added to collection"}})
    api("POST", f"/collections/{second}/relationships/images", json=refer(images[0]))

    shown = api("GET", f"/collections/{first}?sortBy=filename&sort=asc&limit=1").json()["data"]
    assert [each["uuid"] for each in shown["images"]] == [images[1]]
    assert shown["images"][0]["collectionId"] == first
    assert shown["imageCount"] == 2
    assert shown["pagination"].pop("nextCursor")
    assert shown["pagination"] == {
        "page": 1, "limit": 1, "totalItems": 2, "totalItemsRelation": "eq", "totalPages": 2,
    }  # fmt: skip
    filtered = api("GET", f"/collections/{first}?search=member-2").json()["data"]
    assert filtered["pagination"]["totalItems"] == 1

    removed = api("DELETE", f"/collections/{first}/relationships/images", json=refer(*images[:2]))
    assert (removed.status_code, removed.json()) == (200, {"meta": {"message": "Image removed from collection"}})
    assert api("GET", f"/images/{images[0]}").json()["collectionId"] == second
    assert api("GET", f"/images/{images[1]}").json()["collectionId"] is None


def test_adding_a_missing_image_changes_nothing(
    api: Api, create: Callable[..., dict[str, Any]], images: list[str]
) -> None:
    path = f"/collections/{create()['uuid']}"

    response = api("POST", f"{path}/relationships/images", json=refer(images[3], str(uuid.uuid4())))

    assert response.status_code == 404
    assert response.json()["errors"][0]["title"] == "Image not found"
    assert api("GET", path).json()["data"]["imageCount"] == 0


def test_only_an_empty_collection_can_be_deleted(
    api: Api, create: Callable[..., dict[str, Any]], images: list[str]
) -> None:
    path = f"/collections/{create()['uuid']}"
    api("POST", f"{path}/relationships/images", json=refer(images[3]))

    rejected = api("DELETE", path)
    assert rejected.status_code == 409
    assert rejected.json()["errors"][0]["title"] == "Cannot delete non-empty collection"
    assert rejected.json()["errors"][0]["detail"] == "Remove all images from the collection before deleting it"

    api("DELETE", f"{path}/relationships/images", json=refer(images[3]))
    assert api("DELETE", path).json() == {"meta": {"message": "Collection deleted successfully"}}
    assert api("GET", path).status_code == 404


def test_deleting_an_image_removes_it_from_its_collection(api: Api, create: Callable[..., dict[str, Any]]) -> None:
    path, image = f"/collections/{create()['uuid']}", api.upload(make_photo())
    api.await_end(image)
    api("POST", f"{path}/relationships/images", json=refer(image))

    api("DELETE", f"/images/{image}")

    assert api("GET", path).json()["data"]["imageCount"] == 0
    assert api("DELETE", path).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_collection_is_404(api: Api, method: str) -> None:
    more = {"json": {"name": "Name"}} if method == "PATCH" else {}
    response = api(method, f"/collections/{uuid.uuid4()}", **more)

    assert response.status_code == 404
    assert response.json()["errors"][0]["code"] == "collection_not_found"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x"},
        {"name": "x" * 256},
        {"name": None},
        {"name": 7},
        {"name": "tab\there"},
        {"name": " \u2003"},
        [],
        "text",
        None,
    ],
)
def test_a_collection_with_an_invalid_name_is_rejected(api: Api, body: Any) -> None:
    response = api("POST", "/collections", json=body)

    assert response.status_code in (400, 415)
    assert response.json()["errors"][0]["title"]


@pytest.mark.parametrize("count", [0, 101])
def test_adding_no_images_or_more_than_a_hundred_is_rejected(
    api: Api, create: Callable[..., dict[str, Any]], count: int
) -> None:
    path = f"/collections/{create()['uuid']}/relationships/images"

    assert api("POST", path, json=refer(*(str(uuid.uuid4()) for _ in range(count)))).status_code == 400


def test_adding_an_image_and_deleting_the_collection_at_once_leaves_one_of_two_states(
    api: Api, create: Callable[..., dict[str, Any]], images: list[str]
) -> None:
    for ahead in range(9):
        path = f"/collections/{create()['uuid']}"
        with ThreadPoolExecutor(9) as pool:
            calls = [
                pool.submit(requests.delete, f"{api.base}{path}", timeout=30)
                if number == ahead
                else pool.submit(
                    requests.post, f"{api.base}{path}/relationships/images", json=refer(images[number % 4]), timeout=30
                )
                for number in range(9)
            ]
        deleted = calls.pop(ahead).result().status_code
        added = {each.result().status_code for each in calls}

        assert deleted in (200, 409)
        assert added <= {200, 404}
        members = [api("GET", f"/images/{each}").json()["collectionId"] for each in images]
        assert (path.rpartition("/")[2] in members) == (deleted == 409)
        assert api("GET", path).status_code == (404 if deleted == 200 else 200)


def test_an_image_added_to_many_collections_at_once_is_in_one(
    api: Api, create: Callable[..., dict[str, Any]], images: list[str]
) -> None:
    rivals = [create(f"Rival {number}")["uuid"] for number in range(6)]
    with ThreadPoolExecutor(12) as pool:
        statuses = list(
            pool.map(
                lambda number: (
                    requests.post(
                        f"{api.base}/collections/{rivals[number % 6]}/relationships/images",
                        json=refer(*(images if number % 2 else reversed(images))),
                        timeout=30,
                    ).status_code
                ),
                range(60),
            )
        )

    assert set(statuses) == {200}
    assert sum(api("GET", f"/collections/{each}").json()["data"]["imageCount"] for each in rivals) == len(images)
