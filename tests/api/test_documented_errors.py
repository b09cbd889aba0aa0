"""The errors that the API's description shows as examples are the errors that callers get."""

from typing import Any

import pytest
from service import Api, make_photo

from shared_lib.web import openapi

UNKNOWN = "00000000-0000-4000-8000-000000000000"
REQUEST = {"uuid": UNKNOWN, "filename": "a.jpg"}
LARGE = b'"' + b"x" * 1024 * 1024 + b'"'
JSON = {"Content-Type": "application/json"}
ERRORS: list[tuple[str, int, str, dict[str, Any]]] = [
    ("get_image", 400, "/images/x", {}),
    ("get_image", 404, f"/images/{UNKNOWN}", {}),
    ("delete_image", 404, f"/images/{UNKNOWN}", {}),
    ("list_attempts", 404, f"/images/{UNKNOWN}/attempts", {}),
    ("get_dead_letter", 404, "/operations/dead-letters/999999999", {}),
    ("discard_dead_letter", 400, "/operations/dead-letters/x", {}),
    ("redrive_failures", 415, "/operations/actions/redrive", {"data": "{}"}),
    ("find_similar_images", 404, f"/images/{UNKNOWN}/similar", {}),
    ("get_rendition", 404, f"/images/{UNKNOWN}/renditions/thumbnail", {}),
    ("get_original", 404, f"/images/{UNKNOWN}/original", {}),
    ("preview_image", 404, f"/images/{UNKNOWN}/preview", {"json": {}}),
    ("update_image", 404, f"/images/{UNKNOWN}", {"json": {"filename": "a.jpg"}}),
    ("delete_images", 400, "/images/actions/delete", {"json": {}}),
    ("move_images", 404, "/images/actions/move", {"json": {"uuids": [UNKNOWN], "collectionId": UNKNOWN}}),
    ("get_preset", 404, "/presets/no-such-preset", {}),
    ("delete_preset", 404, "/presets/no-such-preset", {}),
    ("list_presets", 400, "/presets?limit=5", {}),
    ("save_preset", 400, "/presets", {"json": {}}),
    ("sign_url", 404, f"/images/{UNKNOWN}/actions/sign", {"json": {"options": "small"}}),
    ("deliver_image", 400, f"/../../i/unsafe/width=5/{UNKNOWN}", {}),
    ("deliver_image", 403, f"/../../i/k.x/w=5/{UNKNOWN}", {}),
    ("deliver_image", 404, f"/../../i/unsafe/w=5/{UNKNOWN}", {}),
    ("list_images", 400, "/images?pag=2", {}),
    ("list_collections", 400, "/collections?pag=2", {}),
    ("create_upload_url", 400, "/images/actions/upload-url", {}),
    ("upload_image", 400, "/images/actions/upload", {"files": {"description": (None, "no file")}}),
    ("upload_image", 413, "/images/actions/upload", {"files": {"file": ("a.jpg", b"x" * 10_485_761, "image/jpeg")}}),
    ("upload_image", 415, "/images/actions/upload", {"files": {"file": ("a.jpg", b"x", "application/pdf")}}),
    ("request_processing", 400, "/images/actions/process", {"json": {"filename": "a.jpg"}}),
    ("request_processing", 404, "/images/actions/process", {"json": REQUEST}),
    ("request_processing", 413, "/images/actions/process", {"data": LARGE, "headers": JSON}),
    ("request_processing", 415, "/images/actions/process", {"data": "{}"}),
    ("create_collection", 400, "/collections", {"json": {}}),
    ("create_collection", 413, "/collections", {"data": LARGE, "headers": JSON}),
    ("create_collection", 415, "/collections", {"data": "{}"}),
    ("get_collection", 400, "/collections/x", {}),
    ("get_collection", 404, f"/collections/{UNKNOWN}", {}),
    ("update_collection", 404, f"/collections/{UNKNOWN}", {"json": {"name": "Holidays"}}),
    ("delete_collection", 404, f"/collections/{UNKNOWN}", {}),
]


def find_example(name: str, status: int) -> tuple[str, Any]:
    """Return an operation's method, and its example of an error."""
    for methods in openapi.load()["paths"].values():
        for method, operation in methods.items():
            if operation["operationId"] == name:
                return method.upper(), operation["responses"][str(status)]["content"]["application/json"]["example"]
    raise AssertionError(name)


@pytest.mark.parametrize(("name", "status", "path", "request_"), ERRORS)
def test_an_error_is_as_its_example_shows(
    api: Api, name: str, status: int, path: str, request_: dict[str, Any]
) -> None:
    method, example = find_example(name, status)

    response = api(method, path, **request_)

    assert response.status_code == status
    given = response.json()
    for body in (given, example):
        body.pop("details", None)  # they depend on the input
    assert given == example


def test_deleting_a_collection_with_images_fails_as_the_example_shows(api: Api) -> None:
    collection = api("POST", "/collections", json={"name": "Holidays"}).json()["data"]["uuid"]
    members = {"data": [{"type": "images", "uuid": api.upload(make_photo())}]}
    assert api("POST", f"/collections/{collection}/relationships/images", json=members).status_code == 200

    response = api("DELETE", f"/collections/{collection}")

    assert (response.status_code, response.json()) == (409, find_example("delete_collection", 409)[1])


def test_a_query_that_is_too_long_fails_as_the_example_shows(api: Api) -> None:
    response = api("GET", f"/images?search={'x' * 9000}")

    assert response.status_code == 414
    assert response.json().items() >= find_example("list_images", 414)[1].items()
