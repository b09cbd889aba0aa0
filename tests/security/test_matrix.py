"""Every operation with every principal: each cell of the table is what it should be."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import requests
from pydantic import SecretStr
from service import Platform
from signed_urls import sign

from shared_lib import settings
from shared_lib.database.connection import Database
from shared_lib.web import openapi

# Who may call, written down a second time: a wrong `needs` in a function is then found.
ANYONE, VIEWER, EDITOR, ADMIN = range(4)
LEAST = {
    "get_health": ANYONE,
    "get_health_live": ANYONE,
    "get_health_ready": ANYONE,
    "deliver_image": ANYONE,
    "list_images": VIEWER,
    "get_image": VIEWER,
    "get_rendition": VIEWER,
    "get_original": VIEWER,
    "preview_image": VIEWER,
    "sign_url": EDITOR,
    "find_similar_images": VIEWER,
    "list_presets": VIEWER,
    "get_preset": VIEWER,
    "save_preset": EDITOR,
    "delete_preset": EDITOR,
    "list_collections": VIEWER,
    "get_collection": VIEWER,
    "create_upload_url": EDITOR,
    "reserve_upload": EDITOR,
    "create_multipart_upload": EDITOR,
    "sign_upload_parts": EDITOR,
    "list_upload_parts": EDITOR,
    "complete_multipart_upload": EDITOR,
    "abort_multipart_upload": EDITOR,
    "upload_image": EDITOR,
    "request_processing": EDITOR,
    "delete_image": EDITOR,
    "update_image": EDITOR,
    "delete_images": EDITOR,
    "move_images": EDITOR,
    "create_collection": EDITOR,
    "update_collection": EDITOR,
    "delete_collection": EDITOR,
    "add_images_to_collection": EDITOR,
    "remove_images_from_collection": EDITOR,
    "create_api_key": ADMIN,
    "list_api_keys": ADMIN,
    "rotate_api_key": ADMIN,
    "revoke_api_key": ADMIN,
    "list_attempts": VIEWER,
    "get_operations_summary": ADMIN,
    "get_version": ADMIN,
    "list_audit_events": ADMIN,
    "get_caller_privacy": ADMIN,
    "get_image_privacy": VIEWER,
    "erase_image": EDITOR,
    "get_erasure": EDITOR,
    "list_dead_letters": ADMIN,
    "get_dead_letter": ADMIN,
    "discard_dead_letter": ADMIN,
    "redrive_failures": ADMIN,
}
PRINCIPALS = {
    "none": ANYONE,
    "empty": ANYONE,
    "no key": ANYONE,
    "wrong secret": ANYONE,
    "expired": ANYONE,
    "revoked": ANYONE,
    "viewer": VIEWER,
    "editor": EDITOR,
    "admin": ADMIN,
}
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in openapi.load()["paths"].items()
    for method, operation in methods.items()
}


@pytest.fixture(scope="module")
def credentials(guarded: Platform, make_key: Callable[..., str]) -> dict[str, dict[str, str]]:
    keys = {role: make_key(role) for role in ("viewer", "editor", "admin")}
    keys |= {name: make_key("admin") for name in ("expired", "revoked", "wrong secret")}
    keys |= {"no key": "imgp_no", "empty": ""}
    database = Database(settings.Database(url=SecretStr(guarded.environment["DATABASE_URL"])))
    with database.transaction() as tx:
        ids = {name: key.split("_")[1] for name, key in keys.items() if len(key) > 10}
        tx.rows("UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE id = :id", id=ids["expired"])
        tx.rows("UPDATE api_keys SET revoked_at = now() - interval '1 s' WHERE id = :id", id=ids["revoked"])
        tx.rows("UPDATE api_keys SET digest = sha256(digest) WHERE id = :id", id=ids["wrong secret"])
    database.disconnect()
    return {"none": {}} | {name: {"X-API-Key": key} for name, key in keys.items()}


def call(guarded: Platform, operation: str, headers: dict[str, str], method: str = "") -> requests.Response:
    """Send a request whose inputs are incomplete, or name what does not exist: it changes nothing."""
    declared, path, _ = OPERATIONS[operation]
    concrete = path.replace("{uuid}", f"{uuid4()}").replace("{name}", "thumbnail").replace("{key_id}", "0000000000")
    concrete = concrete.replace("{letter_id}", "0").replace("{erasure_id}", f"{uuid4()}")
    if operation == "deliver_image":
        concrete = sign(f"/small/{uuid4()}")
    from_elsewhere = {"X-Forwarded-For": "192.0.2.1"}
    return requests.request(method or declared, guarded.url + concrete, headers=headers | from_elsewhere, timeout=30)


def test_the_table_has_every_operation() -> None:
    assert LEAST.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("principal", PRINCIPALS)
@pytest.mark.parametrize("operation", LEAST)
def test_a_principal_may_do_what_the_table_says(
    guarded: Platform, credentials: dict[str, dict[str, str]], operation: str, principal: str
) -> None:
    response = call(guarded, operation, credentials[principal])

    if PRINCIPALS[principal] >= LEAST[operation]:
        assert response.status_code in (200, 204, 400, 404, 413, 415), response.text
    elif PRINCIPALS[principal] == ANYONE:
        refused = (401, 429) if principal in ("wrong secret", "expired", "revoked") else (401,)  # they are counted
        assert response.status_code in refused
        assert_same_shape(operation, response)
    else:
        assert response.status_code == 403
        assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]
        assert_same_shape(operation, response)


def assert_same_shape(operation: str, response: requests.Response) -> None:
    """Compare with the documented example, which has the form of this endpoint's errors."""
    documented: dict[str, Any] = OPERATIONS[operation][2]["responses"][f"{response.status_code}"]
    example = documented["content"]["application/json"]["example"]
    assert response.json().keys() == example.keys()
    if response.status_code == 401:
        assert response.headers["WWW-Authenticate"].startswith("Bearer ")
        assert "secret" not in json.dumps(response.json())


@pytest.mark.parametrize("operation", [name for name, (method, _, _) in OPERATIONS.items() if method == "GET"])
def test_head_is_guarded_like_get(guarded: Platform, credentials: dict[str, dict[str, str]], operation: str) -> None:
    refused = call(guarded, operation, {}, "HEAD").status_code == 401

    assert refused == (LEAST[operation] > ANYONE)
    assert call(guarded, operation, credentials["admin"], "HEAD").status_code != 401


def test_every_operation_says_in_the_description_what_it_takes() -> None:
    for name, (_, _, operation) in OPERATIONS.items():
        expected: list[dict[str, list[str]]] = [] if LEAST[name] == ANYONE else [{"bearer": []}, {"apiKey": []}]
        assert operation["security"] == expected, name
        assert ("401" in operation["responses"]) == bool(expected)


def test_credentials_in_the_query_do_not_count(guarded: Platform, admin_key: str) -> None:
    address = f"{urlsplit(guarded.url).geturl()}/api/v1/images"
    for name in ("X-API-Key", "api_key", "apiKey", "key", "access_token"):
        assert requests.get(address, params={name: admin_key}, timeout=30).status_code == 401
