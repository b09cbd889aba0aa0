"""A tenant's images, collections and keys do not exist for another tenant, whatever it asks and however."""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid4

import boto3
import pytest
import requests
import signed_urls
from issuer import AUDIENCE, Issuer
from pg8000.exceptions import DatabaseError
from pydantic import SecretStr, ValidationError
from service import ROOT, WHOLE, Api, Platform, connect, make_photo, run_command, wait_for

from shared_lib import settings
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database, acting_for
from shared_lib.database.failures import ConstraintViolated
from shared_lib.database.rights import RIGHTS, SHARED
from shared_lib.delivery.thumbor.dialect import sign as sign_as_thumbor
from shared_lib.domain.api_keys import ApiKeyText, KeyGrant
from shared_lib.domain.images import VISIBLE
from shared_lib.domain.pages import PageQuery
from shared_lib.domain.principals import Role
from shared_lib.errors import Misconfigured, NotFound, Unauthenticated
from shared_lib.repositories.api_keys import ApiKeys
from shared_lib.repositories.collections import Collections
from shared_lib.repositories.image_queries import ImageQueries
from shared_lib.repositories.images import Images
from shared_lib.repositories.issuer_keys import IssuerKeys
from shared_lib.repositories.originals import Originals
from shared_lib.repositories.presets import Presets
from shared_lib.repositories.renditions import Renditions
from shared_lib.repositories.tenants import Tenants
from shared_lib.services.token_verification import TokenVerifier
from shared_lib.web import openapi

OPERATIONS = {
    operation["operationId"]: (method.upper(), path)
    for path, methods in openapi.load()["paths"].items()
    for method, operation in methods.items()
}
OWNED = {table for table, roles in RIGHTS.items() if "SELECT" in roles.get("images_app", "")} - set(SHARED)
EMPTY = (  # as a rule
    "dead_letters",
    "deliveries",
    "erasures",
    "foreign_images",
    "multipart_uploads",
    "original_removals",
    "outbox",
    "rendition_requests",
)
Get = Callable[[str], requests.Response]
ANY_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


@dataclass
class Tenant:
    """A tenant with everything that it may have, and its admin's client."""

    name: str
    api: Api
    key: str
    photo: bytes
    image: str = ""
    collection: str = ""


def make_tenant(guarded: Platform, name: str, photo: bytes) -> Tenant:
    made = run_command(guarded, "tenants", "create", name)
    assert made.returncode == 0, made.stderr
    return make_things(guarded, Tenant(name, connect(guarded, made.stdout.strip()), made.stdout.strip(), photo))


def refer(*images: str) -> dict[str, Any]:
    return {"data": [{"type": "images", "uuid": image} for image in images]}


def make_things(guarded: Platform, tenant: Tenant) -> Tenant:
    api = tenant.api
    name = f"{tenant.name} sunset.jpg"
    tenant.image = api.upload(tenant.photo, filename=name, description=tenant.name, renditions=WHOLE)
    assert api.await_end(tenant.image)["status"] == "succeeded"
    created = api("POST", "/collections", json={"name": f"{tenant.name} album"})
    tenant.collection = created.json()["data"]["uuid"]
    path = f"/collections/{tenant.collection}/relationships/images"
    assert api("POST", path, json=refer(tenant.image)).status_code == 200
    assert api("POST", "/presets", json={"recipe": {"name": name_preset(tenant.image)}}).status_code == 201
    return tenant


def name_preset(image: str) -> str:
    return f"preset-{image}"


@pytest.fixture(scope="module")
def owner(guarded: Platform) -> Iterator[Database]:
    """Connect as the owner of the tables, acting for all tenants."""
    opened = Database(settings.Database(url=SecretStr(guarded.environment["DATABASE_URL"])))
    yield opened
    opened.disconnect()


@pytest.fixture(scope="module")
def photo() -> bytes:
    return (ROOT / "tests/golden/photographs/cat.jpg").read_bytes()


@pytest.fixture(scope="module")
def acme(guarded: Platform, photo: bytes) -> Tenant:
    return make_tenant(guarded, f"acme-{uuid4().hex[:8]}", photo)


@pytest.fixture(scope="module")
def umbrella(guarded: Platform, photo: bytes) -> Tenant:
    """Another tenant, with the same photograph."""
    return make_tenant(guarded, f"umbrella-{uuid4().hex[:8]}", photo)


@pytest.fixture(scope="module")
def default(guarded: Platform, admin_key: str, photo: bytes) -> Tenant:
    return make_things(guarded, Tenant(DEFAULT_TENANT, connect(guarded, admin_key), admin_key, photo))


def inputs(operation: str, image: str, collection: str, key: str, own: Tenant) -> dict[str, Any]:
    """Return a request for an operation that names an image, a collection or a key."""
    method, path = OPERATIONS[operation]
    of_collections = path.startswith("/api/v1/collections")
    concrete = path.replace("{uuid}", collection if of_collections else image)
    concrete = concrete.replace("{name}", "thumbnail").replace("{key_id}", key)
    concrete = concrete.replace("{preset}", name_preset(image))
    bodies: dict[str, Any] = {
        "update_collection": {"name": "taken over"},
        "preview_image": {},
        "update_image": {"filename": "taken-over.jpg"},
        "delete_images": {"uuids": [image]},
        "move_images": {"uuids": [image], "collectionId": None},
        "add_images_to_collection": refer(own.image),
        "remove_images_from_collection": refer(image),
        "request_processing": {"uuid": image, "filename": "taken-over.jpg"},
        "rotate_api_key": {},
        "sign_url": {"options": "w=100", "format": "webp"},
        "sign_upload_parts": {"partNumbers": [1]},
    }
    body = {"json": bodies[operation]} if operation in bodies else {}
    return {"method": method, "path": concrete.removeprefix("/api/v1")} | body


BY_ID = (
    "get_image",
    "get_rendition",
    "get_original",
    "update_image",
    "preview_image",
    "delete_images",
    "move_images",
    "find_similar_images",
    "request_processing",
    "delete_image",
    "erase_image",
    "get_image_privacy",
    "list_attempts",
    "sign_url",
    "sign_upload_parts",
    "list_upload_parts",
    "complete_multipart_upload",
    "abort_multipart_upload",
    "get_collection",
    "update_collection",
    "delete_collection",
    "add_images_to_collection",
    "remove_images_from_collection",
    "rotate_api_key",
    "revoke_api_key",
    "get_preset",
    "delete_preset",
)
ROUNDS = int(os.environ.get("FOREIGN_ROUNDS", "1"))
"""`make check-security` sets it, and those of other tests."""
REPORTED = ("delete_images", "move_images")
"""Their response names what is missing."""


def test_every_operation_that_names_something_is_tried_with_another_tenants() -> None:
    named = {name for name, (_, path) in OPERATIONS.items() if "{" in path}

    # The URL itself is the permission. Discarding a dead letter has the same response for any, and a test of operators
    # asks for that of another tenant.
    besides = {"deliver_image", "discard_dead_letter", "get_dead_letter", "get_erasure"}
    in_bodies = {"request_processing", *REPORTED}
    assert named - besides | in_bodies == set(BY_ID)


def describe(response: requests.Response) -> tuple[object, ...]:
    """Return all that a caller sees, except ids and the time."""
    varying = ("x-request-id", "x-trace-id", "date", "ratelimit")
    headers = {
        name: ANY_UUID.sub("<uuid>", value) for name, value in response.headers.items() if name.lower() not in varying
    }
    return response.status_code, headers, ANY_UUID.sub("<uuid>", response.text)


@pytest.mark.parametrize("operation", BY_ID)
def test_what_belongs_to_another_tenant_is_missing_byte_for_byte(
    acme: Tenant, umbrella: Tenant, operation: str
) -> None:
    foreign = inputs(operation, acme.image, acme.collection, acme.key.split("_")[1], umbrella)
    for _ in range(ROUNDS):
        missing = inputs(operation, str(uuid4()), str(uuid4()), "0000000000", umbrella)

        answers = [describe(umbrella.api(**request)) for request in (foreign, missing)]

        assert answers[0] == answers[1]
        assert answers[0][0] == (200 if operation in REPORTED else 404)
    own = acme.api("GET", f"/images/{acme.image}").json()
    assert (own["filename"], own["collectionId"]) == (f"{acme.name} sunset.jpg", acme.collection)
    assert acme.api("GET", "/api-keys").status_code == 200


@pytest.mark.parametrize("path", ["/images/{}", "/images/{}/similar", "/images/{}/renditions/thumbnail"])
def test_the_default_tenant_is_a_tenant_like_any_other(acme: Tenant, default: Tenant, path: str) -> None:
    for asking, asked in ((default, acme), (acme, default)):
        assert asked.api("GET", path.format(asked.image)).status_code == 200
        assert asking.api("GET", path.format(asked.image)).status_code == 404


def test_a_key_acts_for_its_own_tenant(guarded: Platform) -> None:
    made = run_command(guarded, "tenants", "create", f"own-{uuid4().hex[:8]}")

    events = connect(guarded, made.stdout.strip())("GET", "/audit-events").json()["data"]

    assert "tenant_created" in [each["action"] for each in events]
    assert "access_denied" not in [each["action"] for each in events], "nobody else used it"


def test_an_image_of_another_tenant_is_not_put_into_a_collection(acme: Tenant, umbrella: Tenant) -> None:
    path = f"/collections/{umbrella.collection}/relationships/images"

    answers = [
        describe(umbrella.api("POST", path, json=refer(umbrella.image, image))) for image in (acme.image, str(uuid4()))
    ]

    assert answers[0] == answers[1]
    assert answers[0][0] == 404


def test_an_image_of_another_tenant_is_no_watermark(acme: Tenant, umbrella: Tenant, photo: bytes) -> None:
    def order(image: str) -> list[dict[str, Any]]:
        return [{"name": "marked", "operations": [{"kind": "watermark", "image": image}]}]

    files = {"file": ("photo.jpg", photo, "image/jpeg")}
    uploads = [
        describe(
            umbrella.api("POST", "/images/actions/upload", files=files, data={"renditions": json.dumps(order(image))})
        )
        for image in (acme.image, str(uuid4()))
    ]
    later = [
        describe(
            umbrella.api(
                "POST",
                "/images/actions/process",
                json={
                    "uuid": umbrella.image,
                    "filename": f"{umbrella.name} sunset.jpg",
                    "renditions": order(image),
                },
            )
        )
        for image in (acme.image, str(uuid4()))
    ]

    for answers in (uploads, later):
        assert answers[0] == answers[1]
        assert answers[0][0] == 404
        assert "watermark_not_found" in str(answers[0][2])


def test_a_watermark_that_is_already_requested_is_not_read_from_another_tenant(
    owner: Database, acme: Tenant, umbrella: Tenant
) -> None:
    """As if the order had slipped through: the worker serves all tenants, and looks for the image's own."""
    recipe = {"name": "slipped", "operations": [{"kind": "watermark", "image": acme.image}], "output": {}}
    with owner.transaction() as tx:
        tx.rows(
            """
            INSERT INTO rendition_requests (tenant_id, image_id, name, recipe_hash, recipe)
            VALUES (:name, :image, 'slipped', 'x', CAST(:recipe AS jsonb))
            """,
            name=umbrella.name,
            image=umbrella.image,
            recipe=json.dumps(recipe),
        )
    order = {"uuid": umbrella.image, "filename": f"{umbrella.name} sunset.jpg", "preset": "small"}
    assert umbrella.api("POST", "/images/actions/process", json=order).status_code == 200

    image = wait_for(
        lambda: umbrella.api("GET", f"/images/{umbrella.image}").json(), lambda image: image["failedRenditions"]
    )

    [failed] = image["failedRenditions"]
    assert (failed["name"], failed["error"]["code"]) == ("slipped", "watermark_missing")


@pytest.fixture(scope="module")
def get(guarded: Platform) -> Get:
    return lambda path: requests.get(f"{guarded.url}{path}", timeout=60)


def test_a_url_means_presets_of_its_images_tenant(acme: Tenant, umbrella: Tenant, get: Get) -> None:
    def ask(preset: str) -> requests.Response:
        return get(signed_urls.sign(f"/{preset}/{acme.image}.webp"))

    assert ask(name_preset(acme.image)).status_code == 200
    assert describe(ask(name_preset(umbrella.image))) == describe(ask(name_preset(str(uuid4()))))
    assert ask(name_preset(umbrella.image)).status_code == 404
    orders = [
        describe(acme.api("POST", f"/images/{acme.image}/actions/sign", json={"options": name_preset(image)}))
        for image in (umbrella.image, str(uuid4()))
    ]
    assert orders[0] == orders[1]
    assert orders[0][0] == 404


@pytest.mark.parametrize("covered", ["image", "collection"])
def test_a_token_of_one_tenant_delivers_nothing_of_another_even_what_is_stored(
    acme: Tenant, umbrella: Tenant, get: Get, covered: str
) -> None:
    order = {"covers": covered, "widths": [320], "formats": ["webp"]}
    signed = acme.api("POST", f"/images/{acme.image}/actions/sign", json={"capability": order})
    assert signed.status_code == 200, signed.text
    token = signed.json()["token"]
    assert get(f"/i/{token}/w=320/{acme.image}.webp").status_code == 200
    assert get(signed_urls.sign(f"/w=320/{umbrella.image}.webp")).status_code == 200, "now it is stored"

    foreign, missing = (get(f"/i/{token}/w=320/{image}.webp") for image in (umbrella.image, uuid4()))

    assert describe(foreign) == describe(missing)
    assert foreign.status_code == (403 if covered == "image" else 404)


def test_a_token_for_filenames_is_about_its_tenants_own(acme: Tenant, umbrella: Tenant, get: Get) -> None:
    def ask(tenant: Tenant, image: object) -> requests.Response:
        allowed = {"prefix": "umbrella", "tenant": tenant.name, "widths": [320]}
        return get(f"/i/{signed_urls.make_token(allowed)}/w=320/{image}.webp")

    assert ask(umbrella, umbrella.image).status_code == 200
    foreign, missing = ask(acme, umbrella.image), ask(acme, uuid4())
    assert describe(foreign) == describe(missing)
    assert foreign.status_code == 404


@pytest.mark.parametrize("route", ["preset", "thumbor", "preview"])
def test_a_watermark_of_another_tenant_is_missing_by_every_way_of_delivery(
    acme: Tenant, umbrella: Tenant, get: Get, route: str
) -> None:
    def ask(mark: str) -> requests.Response:
        operations = [{"kind": "watermark", "image": mark}]
        if route == "preview":
            return acme.api("POST", f"/images/{acme.image}/preview", json={"operations": operations})
        if route == "preset":
            return acme.api("POST", "/presets", json={"recipe": {"name": "marked", "operations": operations}})
        path = f"filters:watermark({mark},0,0,0)/{acme.image}"
        return get(f"/thumbor/{sign_as_thumbor(signed_urls.THUMBOR_KEY, path)}/{path}")

    foreign, missing, own = (ask(mark) for mark in (umbrella.image, str(uuid4()), acme.image))

    assert describe(foreign) == describe(missing)
    assert foreign.status_code >= 400
    assert own.ok, own.text


def test_lists_and_searches_have_only_the_tenants_own(acme: Tenant, umbrella: Tenant, default: Tenant) -> None:
    for tenant in (acme, umbrella):
        for query in ("", "?search=sunset", "?status=all", "?search=sunset&status=succeeded&sort=asc"):
            page = tenant.api("GET", f"/images{query}")
            assert [each["uuid"] for each in page.json()] == [tenant.image], query
            assert page.headers["X-Total-Count"] == "1"
        for query in ("", "?search=album"):
            page = tenant.api("GET", f"/collections{query}").json()
            assert [each["uuid"] for each in page["data"]] == [tenant.collection], query
        similar = tenant.api("GET", f"/images/{tenant.image}/similar?distance=11&limit=100").json()
        assert similar == []
        keys = tenant.api("GET", "/api-keys").json()["data"]
        assert [each["id"] for each in keys] == [tenant.key.split("_")[1]]
    everything = default.api("GET", "/images?search=sunset&limit=100").json()
    assert {each["filename"].partition(" ")[0] for each in everything} == {DEFAULT_TENANT}


def test_tenants_share_no_bytes(owner: Database, acme: Tenant, umbrella: Tenant, default: Tenant) -> None:
    """Otherwise one could learn what another has, and the erasure of one would wait for the other."""
    tenants = (acme, umbrella, default)
    with owner.transaction() as tx:
        rows = tx.rows(
            """
            SELECT uuid::text, original_key, tenant_id, (SELECT key FROM renditions WHERE image_id = uuid
            AND name = 'whole') AS rendition FROM images WHERE uuid = ANY(CAST(:uuids AS uuid[]))
            """,
            uuids=[each.image for each in tenants],
        )
    found = {row["uuid"]: row for row in rows}

    for tenant in tenants:
        row = found[tenant.image]
        prefix = "" if tenant is default else f"t/{tenant.name}/"
        assert row["tenant_id"] == tenant.name
        assert row["original_key"].startswith(f"{prefix}originals/")
        assert row["rendition"].startswith(f"{prefix}{tenant.image}/")


def test_a_deletion_leaves_nothing_in_the_store_and_other_tenants_alone(
    guarded: Platform, acme: Tenant, umbrella: Tenant, photo: bytes
) -> None:
    environ = guarded.environment
    store = boto3.client(
        "s3",
        endpoint_url=environ["S3_ENDPOINT_URL"],
        aws_access_key_id=environ["S3_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["S3_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )

    def count(prefix: str) -> int:
        return int(store.list_objects_v2(Bucket="completed-images", Prefix=prefix)["KeyCount"])

    doomed = acme.api.upload(make_photo(), filename="doomed.jpg", renditions=WHOLE)
    acme.api.await_end(doomed)
    before = count(f"t/{acme.name}/originals/")
    assert count(f"t/{acme.name}/{doomed}/") == 1

    assert acme.api("DELETE", f"/images/{doomed}").status_code == 200

    assert count(f"t/{acme.name}/{doomed}/") == 0
    assert count(f"t/{acme.name}/originals/") == before - 1
    assert umbrella.api("GET", f"/images/{umbrella.image}/renditions/thumbnail").status_code == 200


# The database


@pytest.fixture
def app(guarded: Platform) -> Iterator[Callable[[str | None], Database]]:
    """Connect like the functions of the API, acting for a tenant or for none."""
    opened: list[Database] = []

    def open_for(tenant: str | None) -> Database:
        url = SecretStr(guarded.environment["DATABASE_APP_URL"])
        opened.append(Database(settings.Database(url=url), tenant))
        return opened[-1]

    yield open_for
    for each in opened:
        each.disconnect()


Open = Callable[[str | None], Database]


@pytest.mark.parametrize("table", sorted(OWNED))
def test_without_a_tenant_there_is_an_error_and_no_row(app: Open, acme: Tenant, table: str) -> None:
    database = app(None)
    for _ in range(2):
        with pytest.raises(DatabaseError, match="the transaction has no tenant"), database.transaction() as tx:
            tx.rows(f"SELECT count(*) FROM {table}")  # noqa: S608  a table of ours
        with acting_for(acme.name), database.transaction() as tx:  # the setting then exists in the session
            tx.rows(f"SELECT count(*) FROM {table}")  # noqa: S608  (same)


@pytest.mark.parametrize("table", sorted(OWNED))
def test_a_forgotten_condition_shows_the_tenants_own_rows_only(
    app: Open, owner: Database, acme: Tenant, umbrella: Tenant, table: str
) -> None:
    column = "id" if table == "tenants" else "tenant_id"
    with app(umbrella.name).transaction() as tx:
        seen = tx.rows(f"SELECT DISTINCT {column} AS tenant FROM {table}")  # noqa: S608  a table of ours
    with owner.transaction() as tx:
        all_tenants = tx.rows(f"SELECT DISTINCT {column} AS tenant FROM {table}")  # noqa: S608  (same)

    assert {row["tenant"] for row in seen} <= {umbrella.name}
    if table not in EMPTY:
        assert {row["tenant"] for row in all_tenants} >= {acme.name, umbrella.name}
        assert {row["tenant"] for row in seen} == {umbrella.name}


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE images SET filename = 'x' WHERE uuid = :image",
        "UPDATE collections SET name = 'x' WHERE uuid = :collection",
        "DELETE FROM collections WHERE uuid = :collection",
        "DELETE FROM renditions WHERE image_id = :image",
        "UPDATE api_keys SET revoked_at = now() WHERE id = :key",
    ],
)
def test_a_forgotten_condition_changes_no_foreign_row(app: Open, acme: Tenant, umbrella: Tenant, sql: str) -> None:
    with app(umbrella.name).transaction() as tx:
        names = {"image": acme.image, "collection": acme.collection, "key": acme.key.split("_")[1]}
        assert tx.rows(f"{sql} RETURNING 1", **names) == []


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO images (uuid, tenant_id, filename, status) VALUES (gen_random_uuid(), :other, 'x', 'pending')",
        "INSERT INTO images (uuid, filename, status) VALUES (gen_random_uuid(), 'x', 'pending')",  # the default's
        "UPDATE images SET tenant_id = :other WHERE uuid = :own",
        "INSERT INTO collections (uuid, tenant_id, name) VALUES (gen_random_uuid(), :other, 'x')",
        "INSERT INTO tenants (id) VALUES ('more')",
        """INSERT INTO audit_events (tenant_id, principal, address, request_id, action, subject, details)
           VALUES (:other, '', '', '', 'access_denied', '', '{}')""",
    ],
)
def test_no_row_is_given_to_another_tenant(app: Open, acme: Tenant, umbrella: Tenant, sql: str) -> None:
    with pytest.raises(Misconfigured) as raised, app(umbrella.name).transaction() as tx:
        tx.rows(sql, other=acme.name, own=umbrella.image)

    assert "row-level security policy" in str(raised.value.__cause__)


def test_an_image_and_its_collection_belong_to_one_tenant(owner: Database, acme: Tenant, umbrella: Tenant) -> None:
    """The owner of the tables sees both, and the constraint holds all the same."""
    with pytest.raises(ConstraintViolated, match="images_collection_id_fkey"), owner.transaction() as tx:
        tx.rows(
            "UPDATE images SET collection_id = :collection WHERE uuid = :image",
            collection=acme.collection,
            image=umbrella.image,
        )


def test_the_owner_of_the_tables_is_confined_too_when_it_acts_for_a_tenant(
    owner: Database, acme: Tenant, umbrella: Tenant
) -> None:
    with acting_for(umbrella.name), owner.transaction() as tx:
        assert {row["tenant_id"] for row in tx.rows("SELECT DISTINCT tenant_id FROM images")} == {umbrella.name}


@pytest.mark.parametrize("name", ["", "x'; DROP TABLE images --", "UPPER", "a" * 64, "-a", "a_b", "ü", "a\n"])
def test_only_a_name_reaches_the_setting_of_the_database(app: Open, name: str) -> None:
    database = app(name)
    with pytest.raises((ValueError, DatabaseError)), database.transaction() as tx:
        tx.rows("SELECT count(*) FROM images")


@pytest.fixture(scope="module")
def unconfined(guarded: Platform, umbrella: Tenant) -> Iterator[Database]:
    """Act for a tenant as a superuser, whom no policy confines: only the statements name the tenant."""
    url = guarded.environment["DATABASE_URL"].replace("//images_owner@/", "//postgres@/")
    opened = Database(settings.Database(url=SecretStr(url)), umbrella.name)
    yield opened
    opened.disconnect()


NEW_KEY = ApiKeyText.generate()
GRANT = KeyGrant(name="test", role=Role.VIEWER, scopes=None, days=1)
CALLS: dict[str, Callable[[Database, Tenant], object]] = {
    "get": lambda db, other: ImageQueries(db).get(UUID(other.image)),
    "get many": lambda db, other: ImageQueries(db).find([UUID(other.image)], thumbnails=True),
    "download the original": lambda db, other: Originals(db).locate(UUID(other.image)),
    "rename": lambda db, other: images(db).update(UUID(other.image), {"filename": "x.jpg"}),
    "delete many": lambda db, other: images(db).delete_all([UUID(other.image)]),
    "move": lambda db, other: Collections(db).move_images([UUID(other.image)], None),
    "get a state": lambda db, other: ImageQueries(db).get_states([UUID(other.image)]),
    "find similar": lambda db, other: ImageQueries(db).find_similar(UUID(other.image), 7, 10),
    "download": lambda db, other: Renditions(db, []).find(UUID(other.image), "thumbnail"),
    "use as a watermark": lambda db, other: Originals(db).find([UUID(other.image)]),
    "request": lambda db, other: images(db).request(UUID(other.image), "x.jpg", None, describe=False),
    "delete": lambda db, other: images(db).delete(UUID(other.image)),
    "show a collection": lambda db, other: Collections(db).show(UUID(other.collection), PageQuery()),
    "update a collection": lambda db, other: Collections(db).update(UUID(other.collection), {"name": "x"}),
    "delete a collection": lambda db, other: Collections(db).delete(UUID(other.collection)),
    "add to a collection": lambda db, other: Collections(db).add_images(UUID(other.collection), []),
    "remove from a collection": lambda db, other: Collections(db).remove_images(UUID(other.collection), []),
    "get a preset": lambda db, other: Presets(db).list_versions(name_preset(other.image)),
    "find a preset": lambda db, other: Presets(db).find(name_preset(other.image)),
    "delete a preset": lambda db, other: Presets(db).delete(name_preset(other.image), "test"),
    "get a key": lambda db, other: ApiKeys(db).get(other.key.split("_")[1]),
    "revoke a key": lambda db, other: ApiKeys(db).revoke(other.key.split("_")[1]),
    "replace a key": lambda db, other: ApiKeys(db).replace(other.key.split("_")[1], NEW_KEY, GRANT, 1, "test"),
}


MISSING = ("get", "delete", "show a collection", "delete a collection", "get a key", "revoke a key", "replace a key")
"""Calls that say so. The others have an empty result."""


def images(database: Database) -> Images:
    return Images(database, settings.Processing())


@pytest.mark.parametrize("call", CALLS)
def test_each_statement_names_the_tenant_by_itself(
    unconfined: Database, acme: Tenant, umbrella: Tenant, call: str
) -> None:
    try:
        found = CALLS[call](unconfined, acme)
    except NotFound:
        return
    assert call not in MISSING
    assert not found


def test_moving_images_names_the_tenant_by_itself(unconfined: Database, acme: Tenant, umbrella: Tenant) -> None:
    with pytest.raises(NotFound):
        Collections(unconfined).add_images(UUID(umbrella.collection), [UUID(acme.image)])


@pytest.mark.parametrize("search", ["", "sunset", "album"])
def test_each_list_names_the_tenant_by_itself(
    unconfined: Database, acme: Tenant, umbrella: Tenant, search: str
) -> None:
    found = ImageQueries(unconfined).page(PageQuery(search=search), statuses=VISIBLE)
    assert {f"{each.uuid}" for each in found.items} <= {umbrella.image}
    albums = Collections(unconfined).page(PageQuery(search=search))
    assert {f"{each.uuid}" for each in albums.items} <= {umbrella.collection}
    assert {each.tenant_id for each in ApiKeys(unconfined).list()} == {umbrella.name}


@pytest.mark.parametrize("sort", ["asc", "desc"])
def test_each_page_names_the_tenant_by_itself(
    unconfined: Database, acme: Tenant, umbrella: Tenant, default: Tenant, sort: Literal["asc", "desc"]
) -> None:
    """Of one item, where another tenant's would take the place of the own: each has an image before or after it."""
    query = PageQuery(limit=1, sort=sort)
    assert [f"{each.uuid}" for each in ImageQueries(unconfined).page(query, statuses=VISIBLE).items] == [umbrella.image]


@pytest.mark.parametrize(
    ("listed", "pattern"), [("images", "%sunset%"), ("images", "%umbrella%"), ("collections", "%album%")]
)
def test_the_databases_search_names_the_tenant_by_itself(
    app: Open, acme: Tenant, umbrella: Tenant, listed: str, pattern: str
) -> None:
    """It runs as a role that may read all tenants' rows."""
    with app(umbrella.name).transaction() as tx:
        found = tx.rows(
            "SELECT * FROM search_items(:listed, :pattern, '{succeeded,failed,pending}', NULL, 'created_at', true, "
            "NULL, NULL, 100) AS found (uuid)",
            listed=listed,
            pattern=pattern,
        )

    assert [f"{each['uuid']}" for each in found] == [umbrella.image if listed == "images" else umbrella.collection]


def test_the_databases_functions_name_the_tenant_by_themselves(app: Open, acme: Tenant, umbrella: Tenant) -> None:
    """The photographs are equal, so the index finds both."""
    with app(umbrella.name).transaction() as tx:
        found = tx.rows(
            """
            SELECT near.image, near.distance FROM images i, find_similar_images(i.perceptual_hash,
                i.perceptual_quarters, 7, CAST('00000000-0000-0000-0000-000000000000' AS uuid), 100) near
            WHERE i.tenant_id = :tenant AND i.uuid = :image
            """,
            image=umbrella.image,
        )

    assert [(f"{each['image']}", each["distance"]) for each in found] == [(umbrella.image, 0)]


@pytest.mark.parametrize("sort_by", ["created_at; DROP TABLE images", 'created_at" DESC; SELECT 1 --', "nothing"])
def test_the_databases_search_takes_names_of_columns_only(app: Open, umbrella: Tenant, sort_by: str) -> None:
    with pytest.raises(Misconfigured) as raised, app(umbrella.name).transaction() as tx:
        tx.rows(
            "SELECT * FROM search_items('images', :text, ARRAY[:text], NULL, :sort_by, true, NULL, NULL, 9)",
            text="%') OR true --",
            sort_by=sort_by,
        )

    assert "42703" in f"{raised.value.__cause__}"  # there is no such column


def test_row_level_security_costs_no_index(app: Open, umbrella: Tenant) -> None:
    """The policy is compared with the tenant that the statement names once, and not with each row."""
    with app(umbrella.name).transaction() as tx:
        tx.rows("SET LOCAL enable_seqscan = off")
        tx.rows("SET LOCAL enable_bitmapscan = off")
        plan = tx.rows("""
            EXPLAIN SELECT uuid FROM images WHERE tenant_id = :tenant AND deleted_at IS NULL
            AND status <> 'awaiting_upload' AND status IN ('succeeded') ORDER BY created_at DESC, uuid DESC LIMIT 10
        """)
    lines = "\n".join(row["QUERY PLAN"] for row in plan)

    assert "One-Time Filter: ((current_tenant())" in lines
    assert "Index Only Scan Backward using images_" in lines


# Who has which tenant


def test_an_operator_makes_a_tenant_once_with_its_first_admins_key(guarded: Platform, acme: Tenant) -> None:
    again = run_command(guarded, "tenants", "create", acme.name)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.splitlines()[-1] == f"tenants: There is a tenant {acme.name} already"
    for name in ("Acme", "a_b", "-a", "a" * 64, ""):
        assert run_command(guarded, "tenants", "create", name).returncode == 2

    second = run_command(
        guarded, "api_keys", "--tenant", acme.name, "create", "second", "--role", "viewer"
    ).stdout.strip()
    seen = requests.get(acme.api.base + f"/images/{acme.image}", headers={"X-API-Key": second}, timeout=30)
    assert seen.status_code == 200
    assert run_command(guarded, "api_keys", "--tenant", acme.name, "revoke", second.split("_")[1]).returncode == 0
    assert run_command(guarded, "api_keys", "revoke", second.split("_")[1]).returncode == 1


def test_an_operator_deletes_a_tenant_with_all_that_it_has_and_no_other(
    guarded: Platform, owner: Database, acme: Tenant, photo: bytes
) -> None:
    gone = make_tenant(guarded, f"gone-{uuid4().hex[:8]}", photo)
    assert run_command(guarded, "tenants", "delete", gone.name).returncode == 1
    assert run_command(guarded, "tenants", "delete", DEFAULT_TENANT, "--confirm").returncode == 1
    assert gone.api("GET", f"/images/{gone.image}").status_code == 200

    deleted = run_command(guarded, "tenants", "delete", gone.name, "--confirm")

    assert deleted.stdout.startswith("1 images deleted"), deleted.stderr
    # 429: from this address, other tests have already failed too often.
    wait_for(lambda: gone.api("GET", f"/images/{gone.image}").status_code, lambda status: status in (401, 429))
    with owner.transaction() as tx:
        for table in ("api_keys", "collections", "presets", "renditions", "processing_attempts"):
            assert tx.rows(f"SELECT 1 FROM {table} WHERE tenant_id = :name", name=gone.name) == []  # noqa: S608  ours
        [image] = tx.rows("SELECT deleted_at, filename FROM images WHERE tenant_id = :name", name=gone.name)
        assert image["deleted_at"]
        assert tx.rows("SELECT 1 FROM tenants WHERE id = :name", name=gone.name) == []
        actions = tx.rows("SELECT action FROM audit_events WHERE tenant_id = :name ORDER BY id DESC", name=gone.name)
    assert [each["action"] for each in actions][:2] == ["tenant_deleted", "image_deleted"]
    assert run_command(guarded, "tenants", "delete", gone.name, "--confirm").stdout.startswith("0 images deleted")
    assert acme.api("GET", f"/images/{acme.image}").status_code == 200


@pytest.mark.parametrize(
    ("described", "claims", "tenant"),
    [
        ({}, {}, DEFAULT_TENANT),
        ({}, {"tenant": "known"}, DEFAULT_TENANT),
        ({"tenant": "known"}, {"tenant": "default"}, "known"),
        ({"tenant_claim": "tenant"}, {"tenant": "known"}, "known"),
        ({"tenant_claim": ["org", "tenant"]}, {"org": {"tenant": ["known"]}}, "known"),
        ({"tenant_claim": "tenant"}, {}, None),
        ({"tenant_claim": "tenant"}, {"tenant": "unknown"}, None),
        ({"tenant_claim": "tenant"}, {"tenant": "known default"}, None),
        ({"tenant_claim": "tenant"}, {"tenant": ["known", "default"]}, None),
        ({"tenant_claim": "tenant"}, {"tenant": "x'; --"}, None),
        ({"tenant_claim": "tenant"}, {"tenant": 7}, None),
        ({"tenant": "unknown"}, {}, None),
    ],
    ids=str,
)
def test_a_token_has_the_tenant_that_its_issuer_is_trusted_with(
    owner: Database,
    trusted_issuer: Issuer,
    described: dict[str, Any],
    claims: dict[str, Any],
    tenant: str | None,
) -> None:
    tenants = Tenants(owner)
    if not tenants.exists("known"):
        tenants.create("known")
    issuer = settings.Issuer.model_validate({"issuer": trusted_issuer.url, "audience": AUDIENCE} | described)
    verifier = TokenVerifier([issuer], IssuerKeys(owner), tenants)
    token = trusted_issuer.sign("rsa", **claims)

    if tenant:
        assert verifier.verify(token).tenant == tenant
    else:
        with pytest.raises(Unauthenticated):
            verifier.verify(token)


def test_a_tenants_name_in_the_settings_is_checked() -> None:
    with pytest.raises(ValidationError, match="tenant"):
        settings.Issuer.model_validate({"issuer": "https://a.example", "audience": "x", "tenant": "No"})
