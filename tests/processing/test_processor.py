"""The functions that consume events, each event delivered by hand."""

import base64
import io
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from service import Api, Deliver, WaitInInbox, make_photo, wait_for

from shared_lib import observability
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database
from shared_lib.domain.images import ImageStatus
from shared_lib.domain.uploads import PROBES
from shared_lib.errors import (
    Conflict,
    FailureCode,
    Misconfigured,
    NotFound,
    Rejected,
    RequestRejected,
    Unavailable,
    WorkerCrashed,
    WorkerFailed,
)
from shared_lib.events import KAFKA_RECORD, ProcessingRequested
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.repositories.claims import Claims
from shared_lib.repositories.leases import LeaseKeeper, Superseded
from shared_lib.runtime import Runtime
from shared_lib.storage.buckets import Inbox
from shared_lib.storage.store import Store

Outcomes = Callable[[UUID], list[str | None]]
REQUESTED = ProcessingRequested.type
WHOLE = Recipe(name="whole")
REJECTED = Rejected(FailureCode.CORRUPT_IMAGE, "for the test")


def record(key: str, bucket: str = "quiet-images", event: str = "s3:ObjectCreated:Put") -> dict[str, Any]:
    return {"Records": [{"eventName": event, "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]}


def test_twenty_concurrent_deliveries_process_an_image_once(
    rt: Runtime, deliver: Deliver, wait_in_inbox: WaitInInbox, outcomes: Outcomes
) -> None:
    uuid = wait_in_inbox(make_photo())
    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(lambda _: deliver("process_image", REQUESTED, {"uuid": str(uuid)}), range(20)))

    assert set(statuses) <= {200, 409}
    assert 200 in statuses
    assert (rt.image_queries.get(uuid).status, rt.image_queries.get(uuid).attempts) == (ImageStatus.SUCCEEDED, 1)
    assert outcomes(uuid) == ["succeeded"]
    assert rt.inbox.head(str(uuid)) is None


@pytest.mark.parametrize("key", ["foreign/a+photo%26.jpg", "uuid"])
def test_a_notification_and_a_request_about_the_same_object_make_one_image(
    rt: Runtime, deliver: Deliver, wait_in_inbox: WaitInInbox, key: str
) -> None:
    if key == "uuid":
        uuid = wait_in_inbox(make_photo())
        key = str(uuid)
    else:
        rt.inbox.put("foreign/a photo&.jpg", make_photo(), "image/jpeg")
        found = rt.inbox.head("foreign/a photo&.jpg")
        assert found
        uuid = found.image

    for _ in range(3):
        assert deliver("process_image", KAFKA_RECORD, record(key)) == 200
    assert deliver("process_image", REQUESTED, {"uuid": str(uuid)}) == 200

    image = rt.image_queries.get(uuid)
    assert (image.status, image.attempts) == (ImageStatus.SUCCEEDED, 1)
    assert list(rt.inbox.list(str(uuid))) == list(rt.inbox.list("foreign/")) == []


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (REQUESTED, {}),
        (REQUESTED, b"not json"),
        (KAFKA_RECORD, {"Records": []}),
        (KAFKA_RECORD, [1, 2]),
        (KAFKA_RECORD, b""),
        ("org.imageprocessing.something.else.v1", {"uuid": str(uuid4())}),
    ],
)
def test_an_unusable_event_is_dead_lettered_at_once(deliver: Deliver, kind: str, data: object) -> None:
    assert deliver("process_image", kind, data) == 400


def test_an_event_about_an_unknown_image_is_acknowledged(deliver: Deliver) -> None:
    assert deliver("process_image", REQUESTED, {"uuid": str(uuid4())}) == 200
    assert deliver("process_image", KAFKA_RECORD, record(str(uuid4()))) == 200
    assert deliver("process_image", KAFKA_RECORD, record("x.jpg", event="s3:ObjectCreated:PutTagging")) == 200


def test_an_event_that_arrives_before_its_object_costs_no_attempt(
    rt: Runtime, deliver: Deliver, wait_in_inbox: WaitInInbox, outcomes: Outcomes
) -> None:
    uuid = wait_in_inbox()

    assert deliver("process_image", REQUESTED, {"uuid": str(uuid)}) == 200

    assert (rt.image_queries.get(uuid).status, rt.image_queries.get(uuid).attempts) == (ImageStatus.PENDING, 0)
    assert outcomes(uuid) == []


def test_an_event_about_an_image_that_has_ended_changes_nothing(
    rt: Runtime, deliver: Deliver, wait_in_inbox: WaitInInbox, outcomes: Outcomes
) -> None:
    uuid = wait_in_inbox(make_photo())
    assert deliver("process_image", REQUESTED, {"uuid": str(uuid)}) == 200
    before = rt.image_queries.get(uuid)

    assert deliver("process_image", REQUESTED, {"uuid": str(uuid)}) == 200

    assert rt.image_queries.get(uuid) == before
    assert outcomes(uuid) == ["succeeded"]


def test_an_event_about_a_held_image_is_delivered_again(
    rt: Runtime, deliver: Deliver, wait_in_inbox: WaitInInbox
) -> None:
    uuid = wait_in_inbox()
    with rt.claims.hold(uuid) as claim:
        assert claim
        assert deliver("process_image", REQUESTED, {"uuid": str(uuid)}) == 409


def test_a_live_worker_keeps_its_leases(rt: Runtime, wait_in_inbox: WaitInInbox) -> None:
    claims = Claims(rt.database, rt.settings.processing.model_copy(update={"lease_seconds": 1}))
    uuid, another = wait_in_inbox(), wait_in_inbox()
    with claims.hold(uuid) as claim, claims.hold(another) as second:
        assert claim
        assert second
        time.sleep(2.5)
        for each in (uuid, another):
            with pytest.raises(Conflict), claims.hold(each):
                pytest.fail("two workers hold the same image")
        claims.fail(claim, REJECTED)
        claims.fail(second, REJECTED)


def test_a_worker_that_outlives_its_lease_changes_nothing(
    rt: Runtime, wait_in_inbox: WaitInInbox, outcomes: Outcomes, expire_lease: Callable[[UUID], None]
) -> None:
    uuid = wait_in_inbox(make_photo())
    with rt.claims.hold(uuid) as stale:
        assert stale
        expire_lease(uuid)
        with rt.claims.hold(uuid) as fresh:
            assert fresh
            with pytest.raises(Superseded):
                rt.claims.fail(stale, REJECTED)
            rt.publisher.publish(fresh, make_photo(), rt.sandbox.render(make_photo(), [THUMBNAIL, WHOLE]))
        with pytest.raises(Superseded):
            rt.claims.fail(stale, REJECTED)

    assert rt.image_queries.get(uuid).status is ImageStatus.SUCCEEDED
    assert outcomes(uuid) == ["lost", "succeeded"]


def test_a_worker_that_outlived_its_lease_does_not_renew_its_successors(
    rt: Runtime, wait_in_inbox: WaitInInbox, expire_lease: Callable[[UUID], None]
) -> None:
    claims = Claims(rt.database, rt.settings.processing.model_copy(update={"lease_seconds": 3600}))
    uuid = wait_in_inbox()
    with claims.hold(uuid) as stale:
        assert stale
        expire_lease(uuid)
        with claims.hold(uuid) as fresh:
            assert fresh
            expire_lease(uuid)
            keeper = LeaseKeeper(rt.database, seconds=3600)
            keeper.keep(stale.lease)

            keeper.renew()

            assert stale.lease.lost.is_set()
            state = rt.image_queries.get_state(uuid)
            assert state
            assert not state.held
            claims.withdraw(fresh)


def test_a_worker_that_outlived_its_lease_names_no_original(
    rt: Runtime, wait_in_inbox: WaitInInbox, expire_lease: Callable[[UUID], None]
) -> None:
    first, second = (rt.gallery.describe_original(make_photo(), Format.JPEG, DEFAULT_TENANT) for _ in range(2))
    uuid = wait_in_inbox()
    with rt.claims.hold(uuid) as stale:
        assert stale
        expire_lease(uuid)
        with rt.claims.hold(uuid) as fresh:
            assert fresh
            rt.claims.name_original(fresh, second)
            with pytest.raises(Superseded):
                rt.claims.name_original(stale, first)
            state = rt.image_queries.get_state(uuid)
            assert state
            assert state.original_key == second.key
            rt.claims.withdraw(fresh)


@pytest.mark.parametrize("prefix", ["originals/", ""])
def test_an_image_succeeds_only_after_its_objects_are_stored(
    rt: Runtime, s3: Any, deliver: Deliver, wait_in_inbox: WaitInInbox, prefix: str
) -> None:
    photo = make_photo()
    uuid = wait_in_inbox(photo)
    rt.images.request(uuid, "by-hand.jpg", None, [WHOLE], describe=False)
    denied = f"arn:aws:s3:::{rt.gallery.name}/{prefix or uuid}*"
    policy = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": denied}
    s3.put_bucket_policy(Bucket=rt.gallery.name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [policy]}))
    try:
        assert deliver("process_image", REQUESTED, {"uuid": str(uuid)}) == 503
    finally:
        s3.delete_bucket_policy(Bucket=rt.gallery.name)
    assert rt.image_queries.get(uuid).status is ImageStatus.PENDING
    assert rt.inbox.read(str(uuid)) == photo

    assert deliver("process_image", REQUESTED, {"uuid": str(uuid)}) == 200

    assert rt.image_queries.get(uuid).status is ImageStatus.SUCCEEDED


def test_a_worker_notices_that_its_image_was_deleted_and_stores_nothing(
    rt: Runtime, wait_in_inbox: WaitInInbox
) -> None:
    claims = Claims(rt.database, rt.settings.processing.model_copy(update={"lease_seconds": 0.6}))
    uuid = wait_in_inbox(make_photo())
    with pytest.raises(Superseded), claims.hold(uuid) as claim:
        assert claim
        claim.lease.ensure_held()
        rt.images.delete(uuid)
        assert claim.lease.lost.wait(timeout=30)
        rt.publisher.publish(claim, make_photo(), rt.sandbox.render(make_photo(), [THUMBNAIL, WHOLE]))
    assert list(rt.gallery.list(f"{uuid}/")) == []


def test_an_image_that_keeps_killing_its_worker_fails(
    rt: Runtime, deliver: Deliver, wait_in_inbox: WaitInInbox, expire_lease: Callable[[UUID], None]
) -> None:
    uuid = wait_in_inbox(make_photo())
    for _ in range(rt.settings.processing.max_abnormal_attempts):
        with rt.claims.hold(uuid) as claim:
            assert claim
            expire_lease(uuid)

    assert deliver("process_image", REQUESTED, {"uuid": str(uuid)}) == 200

    image = rt.image_queries.get(uuid)
    assert image.failure
    assert (image.status, image.failure.code) == (ImageStatus.FAILED, FailureCode.WORKER_LOST)
    assert uuid not in rt.drift.find_unannounced(0), "it is announced at once"


@pytest.mark.parametrize(
    ("error", "outcome", "tries", "code"),
    [
        (WorkerCrashed("for the test"), "crashed", 3, FailureCode.DECODER_CRASHED),
        (WorkerFailed("for the test"), "errored", 3, FailureCode.INTERNAL_ERROR),
        (RequestRejected("for the test"), "released", 8, FailureCode.DELIVERY_GIVEN_UP),
        (KeyError("for the test"), "released", 8, FailureCode.DELIVERY_GIVEN_UP),
    ],
)
def test_an_image_fails_after_too_many_broken_off_attempts(  # noqa: PLR0913, PLR0917  the table's columns and fixtures
    rt: Runtime,
    wait_in_inbox: WaitInInbox,
    outcomes: Outcomes,
    error: Exception,
    outcome: str,
    tries: int,
    code: FailureCode,
) -> None:
    uuid = wait_in_inbox()
    for _ in range(tries):
        with pytest.raises(type(error)), rt.claims.hold(uuid) as claim:
            assert claim
            raise error
        assert rt.image_queries.get(uuid).status is ImageStatus.PENDING

    with rt.claims.hold(uuid) as claim:
        assert claim is None

    assert rt.image_queries.get(uuid).failure is not None
    assert rt.image_queries.get(uuid).failure.code is code  # type: ignore[union-attr]
    assert outcomes(uuid) == [outcome] * tries + ["failed"]


@pytest.mark.parametrize("error", [Unavailable("for the test"), Misconfigured("The store")])
def test_an_outage_of_any_length_fails_no_image(
    rt: Runtime, deliver: Deliver, wait_in_inbox: WaitInInbox, outcomes: Outcomes, error: Unavailable
) -> None:
    uuid = wait_in_inbox(make_photo())
    for _ in range(rt.settings.processing.max_attempts + 1):
        with pytest.raises(Unavailable), rt.claims.hold(uuid) as claim:
            assert claim
            raise error
        assert (rt.image_queries.get(uuid).status, rt.image_queries.get(uuid).attempts) == (ImageStatus.PENDING, 0)

    assert deliver("process_image", REQUESTED, {"uuid": str(uuid)}) == 200

    assert (rt.image_queries.get(uuid).status, outcomes(uuid)) == (ImageStatus.SUCCEEDED, ["succeeded"])


def test_a_worker_that_lost_the_database_releases_its_claim_when_it_is_back(
    rt: Runtime, wait_in_inbox: WaitInInbox, outcomes: Outcomes
) -> None:
    little = rt.settings.database.model_copy(update={"pool_size": 1, "statement_timeout_seconds": 0.3})
    database = Database(little, DEFAULT_TENANT)
    claims = Claims(database, rt.settings.processing.model_copy(update={"lease_seconds": 1}))
    uuid = wait_in_inbox()
    with ExitStack() as outage:
        with pytest.raises(Unavailable), claims.hold(uuid) as claim:
            assert claim
            outage.enter_context(database.transaction())  # nobody else has a connection now
            raise Unavailable("for the test")
        time.sleep(1.5)
        assert outcomes(uuid) == [None], "as if the worker had died"

    wait_for(lambda: outcomes(uuid), lambda found: found == [])
    assert (rt.image_queries.get(uuid).status, rt.image_queries.get(uuid).attempts) == (ImageStatus.PENDING, 0)
    database.disconnect()


def test_deleting_an_image_during_processing_leaves_no_objects(
    rt: Runtime, api: Api, deliver: Deliver, wait_in_inbox: WaitInInbox
) -> None:
    uuid = wait_in_inbox(make_photo())
    with pytest.raises(Superseded), rt.claims.hold(uuid) as claim:
        assert claim
        assert api("DELETE", f"/images/{uuid}").status_code == 200
        assert api("GET", f"/images/{uuid}").status_code == 404
        rt.gallery.put(f"{uuid}/0/0.jpg", make_photo(), "image/jpeg")
        rt.publisher.publish(claim, make_photo(), rt.sandbox.render(make_photo(), [THUMBNAIL, WHOLE]))

    assert deliver("process_image", REQUESTED, {"uuid": str(uuid)}) == 200

    assert list(rt.gallery.list(f"{uuid}/")) == list(rt.inbox.list(str(uuid))) == []


def test_an_upload_that_failed_with_503_does_not_appear_later(rt: Runtime, deliver: Deliver) -> None:
    nowhere = Inbox(Store(rt.settings.store.model_copy(update={"endpoint_url": "http://127.0.0.1:1"})), rt.inbox.name)
    with pytest.raises(Unavailable):
        replace(rt.ingestion, inbox=nowhere).ingest("secret.jpg", "content", b"no image", "image/jpeg")
    with rt.database.transaction() as tx:
        row = tx.rows("SELECT * FROM images ORDER BY created_at DESC LIMIT 1")[0]
    assert row["deleted_at"]
    assert (row["filename"], row["description"]) == ("", None)

    rt.inbox.put(str(row["uuid"]), make_photo(), "image/jpeg")  # it had reached the store, only the response was lost
    assert deliver("process_image", KAFKA_RECORD, record(str(row["uuid"]))) == 200

    with pytest.raises(NotFound):
        rt.image_queries.get(row["uuid"])
    assert rt.inbox.head(str(row["uuid"])) is None


def test_a_foreign_object_that_changed_before_it_was_moved_leaves_no_row(rt: Runtime) -> None:
    rt.inbox.put("hasty.jpg", make_photo(), "image/jpeg")
    found = rt.inbox.head("hasty.jpg")
    assert found
    rt.inbox.put("hasty.jpg", make_photo(), "image/jpeg")

    assert not rt.ingestion.adopt(found)

    assert rt.image_queries.get_state(found.image) is None
    rt.inbox.delete("hasty.jpg")


def test_a_dead_letter_is_recorded_and_fails_no_image(
    rt: Runtime, deliver: Deliver, wait_in_inbox: WaitInInbox
) -> None:
    uuid = wait_in_inbox(make_photo())
    attributes = {
        "id": str(uuid4()),
        "knativeerrorcode": "503",
        "knativeerrordest": "http://process-image",
        "knativeerrordata": base64.b64encode(b"The object store is out of reach").decode(),
    }

    for _ in range(2):
        assert deliver("record_dead_letter", REQUESTED, {"uuid": str(uuid)}, **attributes) == 200

    image = rt.image_queries.get(uuid)
    assert (image.status, image.failure) == (ImageStatus.PENDING, None), "a dead letter fails no image"
    with rt.database.transaction() as tx:
        [letter] = tx.rows("SELECT * FROM dead_letters WHERE image_id = :uuid", uuid=uuid)
    assert (letter["code"], letter["reason"]) == (503, "The object store is out of reach")
    assert json.loads(letter["data"]) == {"images": [str(uuid)]}
    assert deliver("process_image", REQUESTED, {"uuid": str(uuid)}) == 200
    assert rt.image_queries.get(uuid).status is ImageStatus.SUCCEEDED, "it is processed when it is requested again"


def test_a_forged_dead_letter_is_stored_cut_to_a_readable_length(rt: Runtime, deliver: Deliver) -> None:
    event = str(uuid4())
    reason = base64.b64encode(b"line\r\n\x1b[31mbreak " + b"x" * 3000).decode()
    attributes = {"id": event + "i" * 3000, "knativeerrorcode": "9" * 30, "knativeerrordest": "d" * 3000}

    assert deliver("record_dead_letter", "t" * 3000, b"y" * 200_000, knativeerrordata=reason, **attributes) == 200

    with rt.database.transaction() as tx:
        [letter] = tx.rows("SELECT * FROM dead_letters WHERE event_id LIKE :event", event=f"{event}%")
    assert letter["code"] is None
    assert letter["reason"].startswith("line   [31mbreak xxx")
    assert {len(letter[name]) for name in ("event_id", "event_type", "destination")} == {500}
    assert len(letter["reason"]) <= 500
    assert json.loads(letter["data"]) == {"images": []}


def test_a_dead_letter_is_kept_without_filenames(rt: Runtime, deliver: Deliver) -> None:
    uuid, event = uuid4(), str(uuid4())
    records = [record(key)["Records"][0] for key in ("holiday/private-name.jpg", str(uuid))]
    data = {"Key": "quiet-images/holiday/private-name.jpg", "Records": records}

    assert deliver("record_dead_letter", KAFKA_RECORD, data, id=event, key="private-name.jpg") == 200

    with rt.database.transaction() as tx:
        [letter] = tx.rows("SELECT * FROM dead_letters WHERE event_id = :event", event=event)
    assert json.loads(letter["data"]) == {"images": [str(uuid)]}
    assert "private-name" not in f"{letter}"


def test_an_event_larger_than_256_kib_is_rejected_with_413(load: Callable[[str], FlaskClient]) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "large", "ce-source": "/test", "ce-type": REQUESTED}
    for function in ("process_image", "record_dead_letter", "reconcile_images"):
        client = load(function)
        assert client.post("/", data=b"x" * (256 * 1024 + 1), headers=headers).status_code == 413
        endless = {
            "input_stream": io.BytesIO(b"x" * (256 * 1024 + 1)),
            "environ_overrides": {"wsgi.input_terminated": True},
        }
        assert client.post("/", headers=headers, **endless).status_code == 413  # in chunks


def test_a_notification_with_too_many_records_is_dead_lettered(deliver: Deliver) -> None:
    records = [record(str(uuid4()))["Records"][0]] * 101

    assert deliver("process_image", KAFKA_RECORD, {"Records": records}) == 400


def test_no_event_makes_an_upload_visible_before_its_object_exists(rt: Runtime, deliver: Deliver) -> None:
    uuid = uuid4()
    rt.images.reserve(uuid, "awaited.jpg")

    assert deliver("process_image", REQUESTED, {"uuid": str(uuid)}) == 200
    assert deliver("process_image", KAFKA_RECORD, record(str(uuid))) == 200

    state = rt.image_queries.get_state(uuid)
    assert state
    assert state.status is ImageStatus.AWAITING_UPLOAD
    rt.inbox.put(str(uuid), make_photo(), "image/jpeg")
    assert deliver("process_image", REQUESTED, {"uuid": str(uuid)}) == 200
    assert rt.image_queries.get(uuid).status is ImageStatus.SUCCEEDED


def test_an_unreadable_dead_letter_is_recorded_all_the_same(rt: Runtime, deliver: Deliver) -> None:
    event = str(uuid4())

    assert deliver("record_dead_letter", "anything", b"\xff\x00 not json", id=event, knativeerrorcode="400") == 200

    with rt.database.transaction() as tx:
        assert len(tx.rows("SELECT 1 FROM dead_letters WHERE event_id = :event", event=event)) == 1


@pytest.mark.parametrize("reason", [b"cut off in the middle of an \xc3", b"with a NUL \0 inside"])
def test_a_dead_letters_reason_is_recorded_as_printable_text(rt: Runtime, deliver: Deliver, reason: bytes) -> None:
    event = str(uuid4())

    attributes = {"id": event, "knativeerrordata": base64.b64encode(reason).decode()}
    assert deliver("record_dead_letter", "anything", b"{}", **attributes) == 200

    with rt.database.transaction() as tx:
        [letter] = tx.rows("SELECT reason FROM dead_letters WHERE event_id = :event", event=event)
    assert letter["reason"].startswith(reason.decode(errors="replace")[:10])


def test_the_upload_of_an_image_that_failed_is_kept(rt: Runtime, deliver: Deliver, wait_in_inbox: WaitInInbox) -> None:
    uuid = wait_in_inbox(make_photo()[:5000])

    assert deliver("process_image", REQUESTED, {"uuid": str(uuid)}) == 200

    assert rt.image_queries.get(uuid).status is ImageStatus.FAILED
    assert rt.inbox.head(str(uuid))


def test_a_failed_image_can_be_tried_again(api: Api, s3: Any) -> None:
    uuid = api.upload(b"broken")
    assert api.await_end(uuid)["error"]["code"] == "unsupported_format"
    s3.put_object(Bucket="upload-images", Key=uuid, Body=make_photo())
    assert api("GET", f"/images/{uuid}").json()["status"] == "failed"

    api("POST", "/images/actions/process", json={"uuid": uuid, "filename": "retried.jpg"})

    image = wait_for(lambda: api("GET", f"/images/{uuid}").json(), lambda image: image["status"] == "succeeded")
    assert (image["filename"], image["error"], image["attempts"]) == ("retried.jpg", None, 1)


@pytest.mark.parametrize("data", [make_photo(), b"no image"], ids=["photo", "no image"])
def test_a_direct_upload_publishes_an_event(rt: Runtime, data: bytes) -> None:
    from kafka import KafkaConsumer  # noqa: PLC0415  only these tests listen

    with observability.context(function="upload_image"):
        uuid = rt.ingestion.ingest("a.jpg", None, data, "image/jpeg")

    servers = rt.settings.kafka.bootstrap_servers
    with KafkaConsumer(
        "image-tasks", bootstrap_servers=servers, auto_offset_reset="earliest", consumer_timeout_ms=5000
    ) as consumer:
        published = ((message.key.decode(), dict(message.headers)["ce_source"]) for message in consumer)
        assert (str(uuid), b"/image-processing/upload_image") in published
    rt.images.delete(uuid)
    rt.finisher.clean_up(uuid)


def test_bootstraps_probes_in_the_inbox_never_become_images(rt: Runtime, deliver: Deliver) -> None:
    key = f"{PROBES}{uuid4()}"
    rt.inbox.put(key, b"x", "text/plain")
    found = rt.inbox.head(key)
    assert found

    assert deliver("process_image", KAFKA_RECORD, record(key)) == 200

    assert rt.image_queries.get_state(found.image) is None
    assert rt.inbox.head(key) is None


def test_every_end_is_announced_on_kafka(rt: Runtime, api: Api) -> None:
    from kafka import KafkaConsumer  # noqa: PLC0415  only this test listens

    good, bad = api.upload(make_photo(), "announced.jpg"), api.upload(b"broken", "announced-too.jpg")
    api.await_end(good)
    api.await_end(bad)

    with KafkaConsumer(
        "image-completed",
        bootstrap_servers=rt.settings.kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=5000,
    ) as consumer:
        events = {}
        for message in consumer:
            events[message.key.decode()] = (dict(message.headers), json.loads(message.value))
            if events.keys() >= {good, bad}:
                break

    headers, data = events[good]
    assert headers["ce_type"] == b"org.imageprocessing.image.processing.succeeded.v1"
    assert headers["ce_source"] == b"/image-processing/process_image"
    assert (data["filename"], data["renditions"][0]["name"]) == ("announced.jpg", "thumbnail")
    headers, data = events[bad]
    assert headers["ce_type"] == b"org.imageprocessing.image.processing.failed.v1"
    assert data["error"]["code"] == "unsupported_format"
