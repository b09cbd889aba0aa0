"""`reconcile_images` repairs what lost events left behind."""

import gc
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from time import sleep
from uuid import UUID, uuid4

import pytest
from service import Deliver, WaitInInbox, make_photo, wait_for

from shared_lib.broker import Broker
from shared_lib.domain.images import ImageStatus
from shared_lib.errors import FailureCode, NotFound, Rejected, Unavailable
from shared_lib.events import ProcessingRequested
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.runtime import Runtime

PING = "dev.knative.sources.ping"


@pytest.fixture
def tick(deliver: Deliver) -> Callable[..., None]:
    def tick(scope: str = "recent") -> None:
        assert deliver("reconcile_images", PING, {"scope": scope}) == 200

    return tick


def age(rt: Runtime, uuid: UUID, column: str, seconds: int) -> None:
    with rt.database.transaction() as tx:
        tx.rows(f"UPDATE images SET {column} = now() - interval '{seconds} s' WHERE uuid = :uuid", uuid=uuid)  # noqa: S608
        tx.rows(
            "UPDATE outbox SET ended_at = completed_at FROM images WHERE image_id = uuid AND uuid = :uuid", uuid=uuid
        )


def process(deliver: Deliver, uuid: UUID) -> None:
    """Deliver the event as a source would: again while the platform's own processor holds the image."""
    wait_for(
        lambda: deliver("process_image", ProcessingRequested.type, {"uuid": str(uuid)}), lambda status: status == 200
    )


def is_requested_again(rt: Runtime, uuid: UUID) -> bool:
    """Return whether the tick deferred the row, as it does with every image that it requests."""
    with rt.database.transaction() as tx:
        row = tx.row("SELECT due_at > now() - interval '30 s' AS deferred FROM images WHERE uuid = :uuid", uuid=uuid)
    return bool(row and row["deferred"])


def test_an_image_whose_notification_was_lost_is_requested(
    rt: Runtime, tick: Callable[..., None], wait_in_inbox: WaitInInbox
) -> None:
    uuid = wait_in_inbox(make_photo())
    age(rt, uuid, "due_at", 60)

    repairs = rt.reconciliation.run()

    assert repairs["requested"] >= 1
    # The platform's own processor also gets the event, claims the image briefly, and finds no object in its own inbox.
    wait_for(lambda: is_requested_again(rt, uuid), bool)
    wait_for(lambda: rt.image_queries.get(uuid).status, lambda status: status is ImageStatus.PENDING)
    tick()


def test_a_dead_workers_image_is_requested_again(
    rt: Runtime, deliver: Deliver, wait_in_inbox: WaitInInbox, expire_lease: Callable[[UUID], None]
) -> None:
    uuid = wait_in_inbox(make_photo())
    with rt.claims.hold(uuid) as claim:
        assert claim
        expire_lease(uuid)

    assert rt.reconciliation.run()["requested"] >= 1

    process(deliver, uuid)
    assert (rt.image_queries.get(uuid).status, rt.image_queries.get(uuid).attempts) == (ImageStatus.SUCCEEDED, 2)


def test_an_object_without_a_row_is_adopted(rt: Runtime, deliver: Deliver, tick: Callable[..., None]) -> None:
    own, foreign = str(uuid4()), "albums/found later.jpg"
    for key in (own, foreign):
        rt.inbox.put(key, make_photo(), "image/jpeg")
    found = rt.inbox.head(foreign)
    assert found
    tick()
    tick()

    for uuid in (UUID(own), found.image):
        process(deliver, uuid)
        assert rt.image_queries.get(uuid).status is ImageStatus.SUCCEEDED
    assert rt.image_queries.get(found.image).filename == "found later.jpg"
    assert rt.inbox.head(foreign) is None


def test_an_image_whose_object_never_came_fails_in_the_end(
    rt: Runtime, tick: Callable[..., None], wait_in_inbox: WaitInInbox
) -> None:
    uuid = wait_in_inbox()
    age(rt, uuid, "due_at", 60)
    tick()
    assert rt.image_queries.get(uuid).status is ImageStatus.PENDING

    age(rt, uuid, "due_at", 60)
    age(rt, uuid, "created_at", 7200)
    tick()

    image = rt.image_queries.get(uuid)
    assert image.failure
    assert image.failure.code is FailureCode.UPLOAD_MISSING


def test_an_expired_upload_url_leaves_a_tombstone(rt: Runtime, tick: Callable[..., None]) -> None:
    expired, running, used = uuid4(), uuid4(), uuid4()
    for uuid in (expired, running, used):
        rt.images.reserve(uuid, "a.jpg")
    rt.inbox.put(str(used), make_photo(), "image/jpeg")
    for uuid in (expired, used):
        age(rt, uuid, "due_at", 7200)

    tick()

    states = rt.image_queries.get_states([expired, running, used])
    assert {uuid: state.deleted for uuid, state in states.items()} == {expired: True, running: False, used: False}


def test_objects_that_a_deletion_could_not_remove_are_removed_later(
    rt: Runtime, tick: Callable[..., None], wait_in_inbox: WaitInInbox
) -> None:
    uuid = wait_in_inbox(make_photo())
    with rt.claims.hold(uuid) as claim:
        assert claim
        rt.publisher.publish(claim, make_photo(), rt.sandbox.render(make_photo(), [THUMBNAIL, Recipe(name="whole")]))
    rt.images.delete(uuid)
    assert list(rt.gallery.list(f"{uuid}/"))

    tick()

    assert list(rt.gallery.list(f"{uuid}/")) == list(rt.inbox.list(str(uuid))) == []
    with pytest.raises(NotFound):
        rt.image_queries.get(uuid)
    age(rt, uuid, "cleaned_up_at", 8 * 24 * 3600)
    tick()
    assert rt.image_queries.get_state(uuid) is None


def test_uploads_of_images_that_have_ended_are_removed_from_the_inbox(
    rt: Runtime, tick: Callable[..., None], wait_in_inbox: WaitInInbox
) -> None:
    succeeded, failed = wait_in_inbox(make_photo()), wait_in_inbox(b"broken")
    with rt.claims.hold(succeeded) as claim:
        assert claim
        rt.publisher.publish(claim, make_photo(), rt.sandbox.render(make_photo(), [THUMBNAIL, Recipe(name="whole")]))
    rt.images.give_up(failed, FailureCode.CORRUPT_IMAGE, "for the test")

    tick()

    assert rt.inbox.head(str(succeeded)) is None
    assert rt.inbox.head(str(failed))

    settings = rt.settings.processing.model_copy(update={"retention_days": 0})
    at_once = replace(rt.reconciliation, recovery=replace(rt.reconciliation.recovery, settings=settings))
    assert at_once.run()["failed_original_removed"] >= 1
    assert rt.inbox.head(str(failed)) is None


def test_a_late_put_to_a_deleted_image_is_removed(
    rt: Runtime, tick: Callable[..., None], wait_in_inbox: WaitInInbox
) -> None:
    uuid = wait_in_inbox()
    rt.images.delete(uuid)
    rt.finisher.clean_up(uuid)
    rt.inbox.put(str(uuid), make_photo(), "image/jpeg")

    sleep(1.1)  # the store's clock has whole seconds
    tick()

    assert rt.inbox.head(str(uuid)) is None


def test_an_end_that_was_not_announced_is_announced(
    rt: Runtime, tick: Callable[..., None], wait_in_inbox: WaitInInbox
) -> None:
    uuid = wait_in_inbox()
    rt.images.give_up(uuid, FailureCode.CORRUPT_IMAGE, "for the test")
    age(rt, uuid, "completed_at", 60)

    tick()

    assert is_announced(rt, uuid)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # kafka-python leaves sockets open
def test_an_end_is_announced_later_while_kafka_is_unavailable(
    rt: Runtime, tick: Callable[..., None], wait_in_inbox: WaitInInbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "kafka")  # its records would hold on to its sockets
    nowhere = Broker(
        rt.settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1", "publish_timeout_seconds": 0.1})
    )
    with pytest.raises(Unavailable):
        nowhere.publish(ProcessingRequested(uuid=uuid4()))
    gc.collect()
    unable = replace(rt.announcer, broker=nowhere)
    recovery = replace(rt.reconciliation.recovery, announcer=unable)
    reconciliation = replace(rt.reconciliation, recovery=recovery)
    uuid = wait_in_inbox()
    rt.images.give_up(uuid, FailureCode.CORRUPT_IMAGE, "for the test")

    assert not unable.announce(uuid)
    assert not is_announced(rt, uuid), "the platform's own tick waits for 30 s"

    age(rt, uuid, "completed_at", 60)
    assert reconciliation.run().keys().isdisjoint({"announced", "requested"})
    tick()
    assert is_announced(rt, uuid)


def test_no_end_is_announced_of_an_image_that_was_requested_again(rt: Runtime, wait_in_inbox: WaitInInbox) -> None:
    uuid = wait_in_inbox(make_photo())
    rt.images.give_up(uuid, FailureCode.CORRUPT_IMAGE, "for the test")
    end = rt.image_queries.get_end(uuid)
    assert end
    rt.images.request(uuid, "again.jpg", None, describe=False)

    assert not rt.announcer.announce(uuid)

    rt.images.give_up(uuid, FailureCode.CORRUPT_IMAGE, "once more")
    rt.images.mark_announced(end)
    assert not is_announced(rt, uuid), "the earlier end was announced"


def test_an_object_that_replaced_the_one_found_is_not_deleted(rt: Runtime) -> None:
    rt.inbox.put("replaced.jpg", make_photo(), "image/jpeg")
    found = rt.inbox.head("replaced.jpg")
    assert found
    rt.inbox.put("replaced.jpg", make_photo(), "image/jpeg")

    assert not rt.inbox.delete_if_unchanged(found)

    assert rt.inbox.head("replaced.jpg")


def test_a_comparison_reports_missing_objects(
    rt: Runtime, wait_in_inbox: WaitInInbox, compare: Callable[..., dict[str, int]]
) -> None:
    uuid = publish(rt, wait_in_inbox)
    lost, *_ = [each.key for each in rt.gallery.list(f"{uuid}/")]
    rt.gallery.delete(lost)

    assert compare()["object_missing"] == 1


def test_a_comparison_removes_only_orphans(
    rt: Runtime, wait_in_inbox: WaitInInbox, compare: Callable[..., dict[str, int]]
) -> None:
    ended, under_way = publish(rt, wait_in_inbox), wait_in_inbox()
    named = {each.key for each in rt.gallery.list(f"{ended}/")}
    rt.gallery.put(stray := f"originals/{uuid4()}.jpg", make_photo(), "image/jpeg")
    for uuid in (ended, under_way, uuid4()):
        rt.gallery.put(f"{uuid}/0/0.jpg", make_photo(), "image/jpeg")

    assert "orphan_removed" not in compare(), "they may belong to a running worker"
    assert (
        compare(replace(rt.reconciliation, comparison=replace(rt.reconciliation.comparison, settling=timedelta(0))))[
            "orphan_removed"
        ]
        >= 3
    )

    assert {each.key for each in rt.gallery.list(f"{ended}/")} == named
    assert rt.gallery.head(stray) is None
    assert [each.key for each in rt.gallery.list(f"{under_way}/")] == [f"{under_way}/0/0.jpg"]


def redrive(*codes: str) -> str:
    """Run the operator's command and return its output."""
    command = [sys.executable, "-m", "shared_lib.commands.redrive", *codes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def test_images_that_failed_in_an_outage_are_retried_by_one_command(
    rt: Runtime, deliver: Deliver, wait_in_inbox: WaitInInbox
) -> None:
    # A code that no other image in this shared database has: redrive retries all images with the code.
    given_up, nested, forgotten = wait_in_inbox(make_photo()), wait_in_inbox(make_photo()), wait_in_inbox()
    for uuid in (given_up, forgotten):
        rt.images.give_up(uuid, FailureCode.DELIVERY_GIVEN_UP, "for the test")
    rt.images.give_up(nested, FailureCode.NESTED_TOO_DEEPLY, "for the test")
    age(rt, forgotten, "created_at", 8 * 24 * 3600)
    waiting = publish(rt, wait_in_inbox)
    rt.images.request(waiting, "more.jpg", None, [rt.recipes.presets["small"]], describe=False)
    with rt.claims.hold(waiting) as claim:
        assert claim
        rt.claims.fail(claim, Rejected(FailureCode.WORKER_LOST, "for the test"))

    assert redrive().endswith(" images will be tried again")

    assert rt.reconciliation.run()["requested"] >= 2
    for uuid in (given_up, waiting):
        process(deliver, uuid)
    assert (rt.image_queries.get(given_up).status, rt.image_queries.get(given_up).attempts) == (
        ImageStatus.SUCCEEDED,
        1,
    )
    assert "small" in [each.name for each in rt.image_queries.get(waiting).renditions]
    assert [rt.image_queries.get(uuid).status for uuid in (nested, forgotten)] == [ImageStatus.FAILED] * 2
    assert redrive() == "0 images will be tried again"

    assert redrive("nested_too_deeply") == "1 images will be tried again"
    assert rt.image_queries.get(nested).status is ImageStatus.PENDING
    assert "'bad_luck' is no failure code" in redrive("bad_luck")


def is_announced(rt: Runtime, uuid: UUID) -> bool:
    with rt.database.transaction() as tx:
        return not tx.rows("SELECT 1 FROM outbox WHERE image_id = :uuid", uuid=uuid)


def publish(rt: Runtime, wait_in_inbox: WaitInInbox) -> UUID:
    uuid = wait_in_inbox(make_photo())
    with rt.claims.hold(uuid) as claim:
        assert claim
        rt.publisher.publish(claim, make_photo(), rt.sandbox.render(make_photo(), [THUMBNAIL, Recipe(name="whole")]))
    return uuid


def test_a_tick_with_scope_all_begins_a_comparison(rt: Runtime, tick: Callable[..., None]) -> None:
    def count_comparisons() -> int:
        repairs = {each.kind: each.total for each in rt.operations.summarize().reconciliation.repairs}
        return repairs.get("gallery_compared", 0)

    before = count_comparisons()
    tick("all")

    def count_later() -> int:
        tick()
        return count_comparisons()

    wait_for(count_later, lambda count: count > before, seconds=100)


def test_a_tick_during_another_one_returns_at_once(rt: Runtime, tick: Callable[..., None]) -> None:
    foreign = f"beside-{uuid4()}.jpg"
    rt.inbox.put(foreign, make_photo(), "image/jpeg")
    sleep(1.1)  # an object's age has whole seconds

    with rt.drift.lock(rt.inbox.name) as mine:
        assert mine
        tick()
        tick("all")
        assert rt.inbox.head(foreign), "the other tick is running"

    tick()
    assert rt.inbox.head(foreign) is None
