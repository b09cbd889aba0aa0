"""A direct upload's original lies in the gallery from the start, and is lost or left behind at no point."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from service import make_photo, wait_for

from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.domain.images import ImageStatus
from shared_lib.domain.uploads import Original
from shared_lib.errors import FailureCode, NotFound, Rejected, Unavailable
from shared_lib.pipeline.formats import Format, sniff
from shared_lib.pipeline.operations.watermark import Watermark
from shared_lib.pipeline.recipe import Recipe
from shared_lib.repositories.leases import Superseded
from shared_lib.runtime import Runtime
from shared_lib.storage.buckets import Gallery
from shared_lib.storage.store import Store

CORRUPT = make_photo()[:200]
REJECTED = Rejected(FailureCode.CORRUPT_IMAGE, "for the test")


def upload(rt: Runtime, data: bytes) -> UUID:
    return rt.ingestion.ingest("direct.jpg", None, data, "image/jpeg")


def describe(rt: Runtime, data: bytes) -> Original:
    form = sniff(data)
    assert form
    return rt.gallery.describe_original(data, form, DEFAULT_TENANT)


def break_off(rt: Runtime, data: bytes) -> UUID:
    """Leave what an upload leaves that is killed after its row was written."""
    uuid = uuid4()
    assert rt.images.create_with_original(uuid, "direct.jpg", None, describe(rt, data))
    return uuid


def read_row(rt: Runtime, uuid: UUID) -> dict[str, Any]:
    with rt.database.transaction() as tx:
        return tx.rows("SELECT * FROM images WHERE uuid = :uuid", uuid=uuid)[0]


def age(rt: Runtime, uuid: UUID, days: float) -> None:
    with rt.database.transaction() as tx:
        tx.rows(
            "UPDATE images SET created_at = now() - make_interval(secs => :seconds) WHERE uuid = :uuid",
            uuid=uuid,
            seconds=days * 24 * 3600,
        )


def expire(rt: Runtime, uuid: UUID) -> dict[str, int]:
    age(rt, uuid, rt.settings.processing.retention_days + 1)
    return rt.reconciliation.run()


def test_a_direct_upload_is_stored_once_under_its_final_key(apart: Runtime) -> None:
    photo = make_photo()

    uuid = upload(apart, photo)

    original = describe(apart, photo)
    assert apart.gallery.read(original.key) == photo
    assert apart.inbox.head(str(uuid)) is None
    row = read_row(apart, uuid)
    assert (row["original_key"], row["sha256"], row["size_bytes"]) == (original.key, original.sha256, len(photo))
    apart.processor.process(uuid)
    assert apart.image_queries.get(uuid).status is ImageStatus.SUCCEEDED


def test_an_upload_of_no_known_format_fails_by_the_inbox(apart: Runtime) -> None:
    uuid = upload(apart, b"no image")
    assert apart.inbox.read(str(uuid)) == b"no image"

    apart.processor.process(uuid)

    failure = apart.image_queries.get(uuid).failure
    assert failure
    assert failure.code is FailureCode.UNSUPPORTED_FORMAT
    assert apart.inbox.head(str(uuid)) is None
    assert read_row(apart, uuid)["original_key"] is None


def test_a_direct_upload_whose_event_was_lost_is_requested(apart: Runtime) -> None:
    photo = make_photo()
    uuid = break_off(apart, photo)
    apart.gallery.put(describe(apart, photo).key, photo, "image/jpeg")
    apart.images.confirm_upload(uuid)

    wait_for(apart.reconciliation.run, lambda repairs: "requested" in repairs)

    apart.processor.process(uuid)
    assert apart.image_queries.get(uuid).status is ImageStatus.SUCCEEDED


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_direct_upload_that_was_killed_before_it_was_confirmed_never_appears(apart: Runtime, is_stored: bool) -> None:
    photo = make_photo()
    uuid, key = break_off(apart, photo), describe(apart, photo).key
    if is_stored:
        apart.gallery.put(key, photo, "image/jpeg")
    apart.processor.process(uuid)
    with pytest.raises(NotFound):
        apart.image_queries.get(uuid)
    with apart.database.transaction() as tx:
        tx.rows(
            "UPDATE images SET created_at = now() - interval '1 h', due_at = now() - interval '1 h' WHERE uuid = :uuid",
            uuid=uuid,
        )

    apart.reconciliation.run()

    assert read_row(apart, uuid)["deleted_at"]
    wait_for(apart.reconciliation.run, lambda _: read_row(apart, uuid)["cleaned_up_at"])
    assert apart.gallery.head(key) is None


def test_equal_direct_uploads_at_once_share_one_original(apart: Runtime) -> None:
    photo = make_photo()
    key = describe(apart, photo).key
    with ThreadPoolExecutor(4) as pool:
        uuids = list(pool.map(lambda _: upload(apart, photo), range(4)))
        list(pool.map(apart.processor.process, uuids))
    assert {apart.image_queries.get(uuid).status for uuid in uuids} == {ImageStatus.SUCCEEDED}
    assert {read_row(apart, uuid)["original_key"] for uuid in uuids} == {key}

    for uuid in uuids:
        assert apart.gallery.read(key) == photo
        apart.images.delete(uuid)
        apart.finisher.clean_up(uuid)

    assert apart.gallery.head(key) is None


def test_an_original_that_a_pending_image_names_outlives_an_equal_image(apart: Runtime) -> None:
    photo = make_photo()
    first = upload(apart, photo)
    apart.processor.process(first)
    second = upload(apart, photo)

    apart.images.delete(first)
    apart.finisher.clean_up(first)

    apart.processor.process(second)
    assert apart.image_queries.get(second).status is ImageStatus.SUCCEEDED


def test_an_upload_goes_to_the_inbox_while_an_equal_original_is_being_deleted(apart: Runtime) -> None:
    photo = make_photo()
    key = describe(apart, photo).key
    uuids = []

    def remove(removed: str) -> None:
        uuids.append(upload(apart, photo))
        apart.gallery.delete(removed)

    assert apart.originals.release(key, remove)

    assert apart.inbox.read(str(uuids[0])) == photo
    apart.processor.process(uuids[0])
    assert apart.image_queries.get(uuids[0]).status is ImageStatus.SUCCEEDED
    assert apart.gallery.read(key) == photo


def test_a_failed_image_keeps_its_original_and_can_be_tried_again(apart: Runtime) -> None:
    uuid = upload(apart, CORRUPT)
    key = describe(apart, CORRUPT).key
    apart.processor.process(uuid)
    failed = apart.image_queries.get(uuid)
    assert failed.failure
    assert failed.failure.code is FailureCode.CORRUPT_IMAGE
    assert apart.ingestion.is_stored(uuid)

    apart.images.request(uuid, "again.jpg", None, describe=False)
    apart.processor.process(uuid)

    assert apart.image_queries.get(uuid).failure == failed.failure, "its bytes were read again"
    assert apart.gallery.read(key) == CORRUPT
    apart.images.delete(uuid)
    apart.finisher.clean_up(uuid)
    assert apart.gallery.head(key) is None


def test_a_failed_images_original_is_deleted_after_some_days(apart: Runtime) -> None:
    data = CORRUPT + b"aged"
    uuid, young = upload(apart, data), upload(apart, CORRUPT + b"young")
    apart.processor.process(uuid)
    apart.processor.process(young)

    assert expire(apart, uuid)["failed_original_removed"] == 1

    assert apart.gallery.head(describe(apart, data).key) is None
    assert not apart.ingestion.is_stored(uuid)
    assert apart.ingestion.is_stored(young)
    assert apart.image_queries.get(uuid).status is ImageStatus.FAILED


def test_a_failed_images_original_is_not_deleted_while_an_equal_image_names_it(apart: Runtime) -> None:
    photo = make_photo()
    failed, succeeded = upload(apart, photo), upload(apart, photo)
    with apart.claims.hold(failed) as claim:
        assert claim
        apart.claims.fail(claim, REJECTED)
    apart.processor.process(succeeded)

    assert "failed_original_removed" not in expire(apart, failed)

    assert apart.gallery.read(describe(apart, photo).key) == photo
    assert read_row(apart, failed)["original_key"] is None


def test_an_original_that_is_not_worth_keeping_is_deleted_at_once(apart: Runtime) -> None:
    data = b"<?xml version='1.0'?><html/>"
    key = describe(apart, data).key
    first, second = upload(apart, data), upload(apart, data)
    apart.processor.process(first)
    assert apart.gallery.head(key), "the second image still names it"

    apart.processor.process(second)

    for uuid in (first, second):
        failure = apart.image_queries.get(uuid).failure
        assert failure
        assert failure.code is FailureCode.UNSUPPORTED_FORMAT
    assert apart.gallery.head(key) is None


def test_an_original_that_arrives_after_its_image_was_deleted_is_deleted_too(apart: Runtime) -> None:
    photo = make_photo()
    key = describe(apart, photo).key
    uuid = break_off(apart, photo)
    apart.images.delete(uuid)
    apart.finisher.try_to_clean_up(uuid)

    apart.gallery.put(key, photo, "image/jpeg")

    apart.processor.process(uuid)  # on the upload's event
    assert apart.gallery.head(key) is None
    assert read_row(apart, uuid)["cleaned_up_at"] is None, "its upload may not be over"
    age(apart, uuid, 1)
    assert apart.reconciliation.run()["cleaned_up"] == 1
    row = read_row(apart, uuid)
    assert row["cleaned_up_at"]
    assert row["original_key"] is None


def test_a_direct_upload_that_failed_with_503_is_erased(apart: Runtime) -> None:
    nowhere = Store(apart.settings.store.model_copy(update={"endpoint_url": "http://127.0.0.1:1"}))
    photo = make_photo()
    key = describe(apart, photo).key
    with pytest.raises(Unavailable):
        replace(apart.ingestion, gallery=Gallery(nowhere, apart.gallery.name)).ingest("a.jpg", "b", photo, "image/jpeg")
    with apart.database.transaction() as tx:
        [row] = tx.rows("SELECT * FROM images WHERE original_key = :key", key=key)
    assert row["deleted_at"]
    apart.gallery.put(key, photo, "image/jpeg")  # it had reached the store, only the response was lost
    age(apart, row["uuid"], 1)

    apart.reconciliation.run()

    assert apart.gallery.head(key) is None
    with pytest.raises(NotFound):
        apart.image_queries.get(row["uuid"])


def test_an_image_deleted_while_it_is_processed_leaves_no_original(apart: Runtime) -> None:
    photo = make_photo()
    uuid = upload(apart, photo)
    with pytest.raises(Superseded), apart.claims.hold(uuid) as claim:
        assert claim
        apart.images.delete(uuid)
        apart.finisher.try_to_clean_up(uuid)
        apart.publisher.publish(claim, photo, apart.sandbox.render(photo, apart.recipes.defaults), in_gallery=True)

    apart.processor.process(uuid)

    assert apart.gallery.head(describe(apart, photo).key) is None
    assert list(apart.gallery.list(f"{uuid}/")) == []


def test_the_comparison_keeps_originals_of_pending_and_failed_images(
    apart: Runtime, compare: Callable[..., dict[str, int]]
) -> None:
    photo, corrupt, orphan = make_photo(), CORRUPT + b"compared", make_photo()
    upload(apart, photo)
    apart.processor.process(upload(apart, corrupt))
    apart.gallery.put(describe(apart, orphan).key, orphan, "image/jpeg")
    prompt = replace(apart.reconciliation.comparison, settling=timedelta(0))

    compare(replace(apart.reconciliation, comparison=prompt))

    left = [apart.gallery.head(describe(apart, each).key) is not None for each in (photo, corrupt, orphan)]
    assert left == [True, True, False]


def test_an_attempt_that_named_an_original_without_storing_it_leaves_the_upload_to_the_next(apart: Runtime) -> None:
    photo = make_photo()
    uuid = uuid4()
    apart.images.create(uuid, "inbox.jpg", None, len(photo))
    apart.inbox.put(str(uuid), photo, "image/jpeg")
    with pytest.raises(Unavailable), apart.claims.hold(uuid) as claim:
        assert claim
        apart.claims.name_original(claim, apart.gallery.describe_original(photo, Format.JPEG, DEFAULT_TENANT))
        raise Unavailable("for the test")

    apart.processor.process(uuid)

    assert apart.image_queries.get(uuid).status is ImageStatus.SUCCEEDED
    assert apart.gallery.read(describe(apart, photo).key) == photo
    apart.reconciliation.run()
    assert apart.inbox.head(str(uuid)) is None


@pytest.mark.parametrize("data", [make_photo(), CORRUPT + b"shown"], ids=["photo", "corrupt"])
def test_the_original_of_an_image_that_has_not_succeeded_is_not_shown(apart: Runtime, data: bytes) -> None:
    uuid = upload(apart, data)
    if data.endswith(b"shown"):
        apart.processor.process(uuid)

    with pytest.raises(NotFound):
        apart.recipes.choose([Recipe(name="marked", operations=(Watermark(image=uuid),))], None)
    assert apart.renderer.overlays.read(DEFAULT_TENANT, [uuid], 1 << 20) == {}
