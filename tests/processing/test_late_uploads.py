"""What arrives after its row is gone, or for a row that is not its own, becomes nobody else's image."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import requests
from pg8000.exceptions import DatabaseError
from pydantic import SecretStr
from service import Platform, make_photo

from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import acting_for
from shared_lib.domain.uploads import UploadTerms, compose_upload_key
from shared_lib.errors import NotFound
from shared_lib.events import ImageRequested, ObjectsCreated
from shared_lib.runtime import Runtime

TENANTS = ("acme", DEFAULT_TENANT)
UploadUrl = Callable[[str], tuple[UUID, str]]


@pytest.fixture(scope="module", autouse=True)
def acme(apart: Runtime) -> None:
    apart.tenants.create("acme")


@pytest.fixture(scope="module")
def worker(platform: Platform, apart: Runtime) -> Iterator[Runtime]:
    """Return another runtime with the same database and buckets, as workers have it: with their role."""
    database = urlsplit(apart.settings.database.url.get_secret_value()).path
    url = urlsplit(platform.environment["DATABASE_WORKER_URL"])._replace(path=database).geturl()
    settings = apart.settings.database.model_copy(update={"url": SecretStr(url)})
    runtime = Runtime(apart.settings.model_copy(update={"database": settings}))
    yield runtime
    runtime.sandbox.close()
    runtime.broker.close()
    runtime.database.disconnect()


def reserve(rt: Runtime, tenant: str) -> tuple[UUID, str]:
    with acting_for(tenant):
        reserved = rt.reservations.reserve("jpg", UploadTerms())
    return reserved.uuid, reserved.url


def put(url: str, data: bytes) -> None:
    requests.put(url, data=data, timeout=30).raise_for_status()


def notify(rt: Runtime, *keys: str) -> None:
    """Have the object's event processed, as process_image does."""
    for uuid, key in rt.ingestion.resolve(ObjectsCreated(keys)):
        rt.processor.process(uuid, key)


def reconcile(rt: Runtime) -> None:
    """Run a tick that takes what is in the inbox for settled."""
    settings = rt.settings.processing.model_copy(update={"pending_grace_seconds": -60})
    recovery = replace(rt.reconciliation.recovery, settings=settings)
    abandoned = replace(rt.reconciliation.abandoned_uploads, settling=timedelta(seconds=-60))
    replace(rt.reconciliation, recovery=recovery, abandoned_uploads=abandoned).run()


def let_expire(rt: Runtime, uuid: UUID) -> None:
    with rt.database.transaction() as tx:
        tx.rows("UPDATE images SET due_at = now() - interval '16 min' WHERE uuid = :uuid", uuid=uuid)
    reconcile(rt)


def read_owners(rt: Runtime, uuid: UUID) -> list[tuple[str, str]]:
    """Return tenant and status of all images that may be this one's: those that exist for anybody."""
    with rt.database.transaction() as tx:
        rows = tx.rows(
            "SELECT tenant_id, status FROM images WHERE deleted_at IS NULL AND (uuid = :uuid OR filename = :name)",
            uuid=uuid,
            name=f"{uuid}",
        )
    return [(row["tenant_id"], row["status"]) for row in rows]


def list_inbox(rt: Runtime) -> list[str]:
    return [each.key for each in rt.inbox.list()]


@pytest.mark.parametrize("tenant", TENANTS)
@pytest.mark.parametrize("by_event", [True, False], ids=["event", "scan"])
def test_an_upload_that_ends_after_its_url_has_expired_becomes_nobodys_image(
    apart: Runtime, worker: Runtime, tenant: str, by_event: bool
) -> None:
    uuid, url = reserve(apart, tenant)
    let_expire(worker, uuid)
    put(url, make_photo())  # it began in time

    if by_event:
        notify(worker, *list_inbox(worker))
    reconcile(worker)

    assert read_owners(worker, uuid) == []
    assert list_inbox(worker) == []


@pytest.mark.parametrize("tenant", TENANTS)
def test_an_upload_of_which_nothing_is_known_any_more_becomes_an_image_of_its_own_tenant_or_of_nobody(
    apart: Runtime, worker: Runtime, tenant: str
) -> None:
    uuid, url = reserve(apart, tenant)
    with worker.database.transaction() as tx:
        tx.rows("DELETE FROM images WHERE uuid = :uuid", uuid=uuid)
    put(url, make_photo())

    notify(worker, compose_upload_key(tenant, uuid))

    assert read_owners(worker, uuid) == [(tenant, "succeeded")]


@pytest.mark.parametrize("by_event", [True, False], ids=["event", "scan"])
def test_an_upload_for_a_tenant_that_is_gone_becomes_nobodys_image(worker: Runtime, by_event: bool) -> None:
    uuid = uuid4()
    keys = f"t/gone/{uuid}", "t/gone/pier.jpg", "t/Not a name/pier.jpg", "t/"
    for key in keys:
        worker.inbox.put(key, make_photo(), "image/jpeg")

    if by_event:
        notify(worker, *keys)
    reconcile(worker)

    with worker.database.transaction() as tx:
        assert tx.rows("SELECT 1 FROM images WHERE filename IN (:uuid, 'pier.jpg')", uuid=f"{uuid}") == []
    old = worker.settings.processing.model_copy(update={"pending_grace_seconds": -60, "retention_days": -1})
    replace(worker.reconciliation, recovery=replace(worker.reconciliation.recovery, settings=old)).run()
    assert list_inbox(worker) == []


def test_an_object_of_an_s3_client_becomes_an_image_of_the_tenant_that_its_key_names(worker: Runtime) -> None:
    worker.inbox.put("t/acme/holidays/acmes pier.jpg", make_photo(), "image/jpeg")

    notify(worker, "t/acme/holidays/acmes pier.jpg")

    with worker.database.transaction() as tx:
        rows = tx.rows("SELECT tenant_id, status FROM images WHERE filename = 'acmes pier.jpg'")
    assert rows == [{"tenant_id": "acme", "status": "succeeded"}]
    assert list_inbox(worker) == []


@pytest.mark.parametrize("by_event", [True, False], ids=["event", "scan"])
def test_an_upload_under_another_tenants_name_is_not_that_of_the_image(
    apart: Runtime, worker: Runtime, by_event: bool
) -> None:
    uuid, _ = reserve(apart, DEFAULT_TENANT)
    planted = f"t/acme/{uuid}"
    worker.inbox.put(planted, make_photo(), "image/jpeg")

    if by_event:
        notify(worker, planted)
    reconcile(worker)

    assert read_owners(worker, uuid) == [(DEFAULT_TENANT, "awaiting_upload")]
    assert list_inbox(worker) == []


@pytest.mark.parametrize("by_event", [True, False], ids=["event", "scan"])
def test_an_upload_url_of_the_last_release_still_brings_its_tenants_image(
    apart: Runtime, worker: Runtime, by_event: bool
) -> None:
    uuid, _ = reserve(apart, "acme")
    put(apart.reservations.urls.sign(f"{uuid}", 60, UploadTerms()), make_photo())  # it named no tenant

    if by_event:
        notify(worker, f"{uuid}")
    else:
        reconcile(worker)
        notify(worker, *list_inbox(worker))  # of the copy

    assert read_owners(worker, uuid) == [("acme", "succeeded")]
    assert list_inbox(worker) == []


def test_parts_that_are_completed_while_their_time_runs_out_become_nobodys_image(
    apart: Runtime, worker: Runtime
) -> None:
    data = make_photo()
    with acting_for("acme"):
        upload = apart.multipart_ingestion.begin(len(data), None, "jpg", None)
        _, [url] = apart.multipart_ingestion.sign(upload.uuid, [1])
    put(url, data)
    parts = worker.multipart_store.list_parts(upload)
    assert parts
    with worker.database.transaction() as tx:
        tx.rows("UPDATE images SET due_at = now() - interval '16 min' WHERE uuid = :uuid", uuid=upload.uuid)
    worker.drift.expire_reservations()

    assert worker.multipart_store.complete(upload, upload.choose(parts))  # as a request that had looked before
    with acting_for("acme"), pytest.raises(NotFound):
        apart.multipart_uploads.complete(upload.uuid)
    notify(worker, upload.key)
    reconcile(worker)

    assert read_owners(worker, upload.uuid) == []
    assert list_inbox(worker) == []


def test_an_upload_in_parts_that_the_last_release_began_is_completed(apart: Runtime, worker: Runtime) -> None:
    data = make_photo()
    with acting_for("acme"):
        upload = apart.multipart_ingestion.begin(len(data), None, "jpg", None)
        begun = replace(upload, key=f"{upload.uuid}", upload_id=worker.multipart_store.begin(f"{upload.uuid}"))
        with apart.database.transaction() as tx:
            tx.rows(
                "UPDATE multipart_uploads SET key = NULL, upload_id = :id WHERE image_id = :uuid",
                id=begun.upload_id,
                uuid=upload.uuid,
            )
        _, [url] = apart.multipart_ingestion.sign(upload.uuid, [1])
        put(url, data)
        apart.multipart_ingestion.complete(upload.uuid)

    reconcile(worker)
    notify(worker, *list_inbox(worker))

    assert read_owners(worker, upload.uuid) == [("acme", "succeeded")]


def test_a_requested_image_without_a_row_is_not_made_of_an_object(worker: Runtime) -> None:
    uuid = uuid4()
    worker.inbox.put(f"{uuid}", make_photo(), "image/jpeg")

    for requested, key in worker.ingestion.resolve(ImageRequested(uuid)):
        worker.processor.process(requested, key)

    assert read_owners(worker, uuid) == []
    reconcile(worker)
    assert read_owners(worker, uuid) == [(DEFAULT_TENANT, "pending")]


def test_a_function_of_the_last_release_makes_no_image_of_another_tenants_upload(
    apart: Runtime, worker: Runtime
) -> None:
    uuid, _ = reserve(apart, "acme")
    insert = "INSERT INTO images (uuid, filename, status) VALUES (:uuid, :name, 'pending')"
    with pytest.raises(DatabaseError, match="that of another tenant"), worker.database.transaction() as tx:
        tx.rows(insert, uuid=uuid4(), name=f"{uuid}")
