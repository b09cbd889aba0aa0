"""A deleted image is gone: from the API at once, soon from the database and the store, and it does not come back."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import requests
from service import Api, Deliver, WaitInInbox, make_photo, wait_for

from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.errors import FailureCode, Rejected, Unavailable
from shared_lib.events import KAFKA_RECORD, ProcessingRequested
from shared_lib.pipeline.formats import Format
from shared_lib.repositories.originals import BeingRemoved
from shared_lib.runtime import Runtime

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


TOMBSTONE = {
    *("uuid", "status", "created_at", "queued_at", "completed_at", "deleted_at", "cleaned_up_at", "retry_at"),
    *("tenant_id", "attempts", "fence", "lease_until", "announced"),
}
"""The columns that a deleted image keeps. None of them has content."""


def read_row(rt: Runtime, uuid: UUID) -> dict[str, Any]:
    with rt.database.transaction() as tx:
        return tx.rows("SELECT * FROM images WHERE uuid = :uuid", uuid=uuid)[0]


def count_rows(rt: Runtime, uuid: UUID) -> dict[str, int]:
    """Count the image's rows in each other table."""
    tables = ("renditions", "rendition_requests", "processing_attempts", "dead_letters")
    with rt.database.transaction() as tx:
        return {
            table: len(tx.rows(f"SELECT 1 FROM {table} WHERE image_id = :uuid", uuid=uuid))  # noqa: S608  no caller's
            for table in tables
        }


def take_photo() -> bytes:
    """Return a photo with a location and a camera in its metadata."""
    from PIL import Image  # noqa: PLC0415  only here

    exif = Image.Exif()
    exif[0x0110] = "Secret Camera"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)})
    return make_photo(exif=exif)


def test_a_deleted_image_keeps_no_content(rt: Runtime, api: Api, deliver: Deliver, wait_in_inbox: WaitInInbox) -> None:
    uuid = wait_in_inbox(take_photo())
    rt.images.request(uuid, "secret.jpg", "secret words", [rt.recipes.presets["small"]], describe=True)
    assert deliver("process_image", ProcessingRequested.type, {"uuid": str(uuid)}) == 200
    attributes = {
        "id": str(uuid4()),
        "knativeerrorcode": "503",
        "knativeerrordata": base64.b64encode(b"secret").decode(),
    }
    assert deliver("record_dead_letter", ProcessingRequested.type, {"uuid": str(uuid)}, **attributes) == 200
    rt.images.request(uuid, "secret.jpg", None, [rt.recipes.presets["large"]], describe=False)
    before = read_row(rt, uuid)
    assert before["metadata"]
    assert before["sha256"]
    assert all(count_rows(rt, uuid).values())

    assert api("DELETE", f"/images/{uuid}").status_code == 200

    left = {name: value for name, value in read_row(rt, uuid).items() if value not in (None, "", [None] * 4)}
    assert left.keys() <= TOMBSTONE
    assert left["cleaned_up_at"]
    assert not any(count_rows(rt, uuid).values())
    assert [*rt.inbox.list(str(uuid)), *rt.gallery.list(f"{uuid}/")] == []
    assert rt.gallery.head(before["original_key"]) is None


def test_a_deleted_image_keeps_no_failure_message(rt: Runtime, wait_in_inbox: WaitInInbox) -> None:
    uuid = wait_in_inbox()
    rt.images.give_up(uuid, FailureCode.CORRUPT_IMAGE, "secret.jpg is broken")

    rt.images.delete(uuid)

    left = read_row(rt, uuid)
    assert (left["failure_code"], left["failure_message"]) == (None, None)


def test_a_dead_letter_of_a_deleted_image_is_kept_without_its_data(
    rt: Runtime, deliver: Deliver, wait_in_inbox: WaitInInbox
) -> None:
    uuid = wait_in_inbox()
    rt.images.delete(uuid)

    assert deliver("record_dead_letter", ProcessingRequested.type, {"uuid": str(uuid)}, id=str(uuid4())) == 200

    with rt.database.transaction() as tx:
        [letter] = tx.rows("SELECT data FROM dead_letters WHERE image_id = :uuid", uuid=uuid)
    assert letter["data"] is None


def test_a_tombstone_keeps_its_originals_key_until_the_original_is_gone(
    rt: Runtime, s3: "S3Client", deliver: Deliver, wait_in_inbox: WaitInInbox
) -> None:
    uuid = wait_in_inbox(make_photo())
    assert deliver("process_image", ProcessingRequested.type, {"uuid": str(uuid)}) == 200
    key = read_row(rt, uuid)["original_key"]
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject"}
    policy = {"Version": "2012-10-17", "Statement": [deny | {"Resource": f"arn:aws:s3:::{rt.gallery.name}/{key}"}]}
    s3.put_bucket_policy(Bucket=rt.gallery.name, Policy=json.dumps(policy))
    try:
        rt.images.delete(uuid)
        rt.finisher.try_to_clean_up(uuid)
    finally:
        s3.delete_bucket_policy(Bucket=rt.gallery.name)
    assert read_row(rt, uuid)["original_key"] == key
    with pytest.raises(BeingRemoved):  # the store may have deleted it all the same
        rt.finisher.clean_up(uuid)
    with rt.database.transaction() as tx:
        tx.rows("UPDATE original_removals SET ends_at = now() WHERE key = :key", key=key)

    rt.finisher.clean_up(uuid)

    assert read_row(rt, uuid)["original_key"] is None
    assert rt.gallery.head(key) is None


def test_an_image_deleted_right_after_its_presigned_upload_never_appears(api: Api, s3: "S3Client") -> None:
    uuids = []
    for _ in range(10):
        ticket = api("GET", "/images/actions/upload-url?extension=jpg").json()
        uuids.append(ticket["uuid"])
        assert requests.put(ticket["presignedUrl"], make_photo(), timeout=10).status_code == 200
        assert api("DELETE", f"/images/{ticket['uuid']}").json() == {"message": "Image deleted"}

    def find_leftovers() -> list[str]:
        listing = [s3.list_objects_v2(Bucket="upload-images", Prefix=uuid).get("Contents", []) for uuid in uuids]
        return [each["Key"] for found in listing for each in found]

    wait_for(find_leftovers, lambda left: not left, seconds=60)
    assert {api("GET", f"/images/{uuid}").status_code for uuid in uuids} == {404}
    assert {api("DELETE", f"/images/{uuid}").status_code for uuid in uuids} == {404}


def test_an_upload_that_comes_after_its_image_was_deleted_is_erased(rt: Runtime, api: Api, s3: "S3Client") -> None:
    ticket = api("GET", "/images/actions/upload-url?extension=jpg").json()
    assert api("DELETE", f"/images/{ticket['uuid']}").status_code == 200

    assert requests.put(ticket["presignedUrl"], make_photo(), timeout=10).status_code == 200

    wait_for(
        lambda: s3.list_objects_v2(Bucket="upload-images", Prefix=ticket["uuid"])["KeyCount"], lambda count: count == 0
    )
    assert api("GET", f"/images/{ticket['uuid']}").status_code == 404
    body = {"uuid": ticket["uuid"], "filename": "back.jpg"}
    assert api("POST", "/images/actions/process", json=body).status_code == 404


def test_a_deleted_upload_outlives_its_url_as_a_tombstone(rt: Runtime) -> None:
    uuid = uuid4()
    rt.images.reserve(uuid, "a.jpg")
    rt.images.delete(uuid)
    with rt.database.transaction() as tx:  # if it were not deleted, its URL would have expired
        tx.rows("UPDATE images SET due_at = now() - interval '1 day' WHERE uuid = :uuid", uuid=uuid)

    rt.reconciliation.run()

    trace = rt.image_queries.get_state(uuid)
    assert trace
    assert trace.deleted


def test_a_late_adoption_does_not_replace_a_tombstone(rt: Runtime, wait_in_inbox: WaitInInbox) -> None:
    uuid = wait_in_inbox()
    rt.images.delete(uuid)

    rt.images.forget(uuid)

    assert rt.image_queries.get_state(uuid)


def test_no_lock_is_held_while_an_original_is_deleted_from_the_store(rt: Runtime) -> None:
    key = f"originals/{uuid4()}.jpg"
    rt.gallery.put(key, b"x", "image/jpeg")
    locked = """
        SELECT 1 FROM pg_locks WHERE locktype = 'advisory'
        AND ((classid::bigint << 32) | objid::bigint) = hashtextextended(:key, 0)
    """

    def remove(key: str) -> None:
        with rt.database.transaction() as tx:
            assert tx.row(locked, key=key) is None
        rt.gallery.delete(key)

    assert rt.originals.release(key, remove)
    assert rt.gallery.head(key) is None


def test_an_original_that_is_being_deleted_is_stored_again_afterwards(rt: Runtime, wait_in_inbox: WaitInInbox) -> None:
    photo = make_photo()
    original = rt.gallery.describe_original(photo, Format.JPEG, DEFAULT_TENANT)
    key = original.key
    uuid = wait_in_inbox(photo)
    with rt.claims.hold(uuid) as claim:
        assert claim

        def remove(_: str) -> None:
            raise Unavailable("for the test")

        with pytest.raises(Unavailable):
            rt.originals.release(key, remove)
        with pytest.raises(BeingRemoved):
            rt.claims.name_original(claim, original)
        with rt.database.transaction() as tx:
            tx.rows("UPDATE original_removals SET ends_at = now() WHERE key = :key", key=key)
        rt.claims.name_original(claim, original)
        assert not rt.originals.release(key, remove), "it is referenced now"
        rt.claims.withdraw(claim)


def test_a_failed_image_keeps_no_original_in_the_gallery(
    rt: Runtime, wait_in_inbox: WaitInInbox, compare: Callable[..., dict[str, int]]
) -> None:
    photo = make_photo()
    original = rt.gallery.describe_original(photo, Format.JPEG, DEFAULT_TENANT)
    key = original.key
    uuid = wait_in_inbox(photo)
    with rt.claims.hold(uuid) as claim:
        assert claim
        rt.claims.name_original(claim, original)
        rt.gallery.put(key, photo, "image/jpeg")
        rt.claims.fail(claim, Rejected(FailureCode.CORRUPT_IMAGE, "for the test"))

    compare(replace(rt.reconciliation, comparison=replace(rt.reconciliation.comparison, settling=timedelta(0))))

    assert rt.gallery.head(key) is None


def test_a_notification_about_a_deleted_image_does_not_bring_it_back(
    rt: Runtime, deliver: Deliver, wait_in_inbox: WaitInInbox
) -> None:
    uuid = wait_in_inbox()
    rt.images.delete(uuid)
    rt.inbox.put(str(uuid), make_photo(), "image/jpeg")
    put = {"eventName": "s3:ObjectCreated:Put", "s3": {"bucket": {"name": rt.inbox.name}, "object": {"key": str(uuid)}}}

    assert deliver("process_image", KAFKA_RECORD, {"Records": [put]}) == 200

    assert rt.inbox.head(str(uuid)) is None
    assert rt.image_queries.get_state(uuid)
