"""Reconciliation copes with backlogs of any size: it continues where it stopped, and no item blocks others."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from kafka import KafkaConsumer, TopicPartition
from service import make_photo, wait_for

from shared_lib.domain.images import ImageStatus
from shared_lib.domain.uploads import StoredObject
from shared_lib.events import TASKS
from shared_lib.repositories.drift import pair
from shared_lib.runtime import Runtime
from shared_lib.services.reconciliation import Reconciliation

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def backlog(rt: Runtime) -> Iterator[list[UUID]]:
    """Collect the many images of a test and delete them afterwards, or every later tick would meet them."""
    images: list[UUID] = []
    yield images
    rt.inbox.delete(*map(str, images))
    with rt.database.transaction() as tx:
        tx.rows("DELETE FROM images WHERE uuid = ANY(CAST(:images AS uuid[]))", images=images)


@pytest.fixture
def small_steps(rt: Runtime) -> Reconciliation:
    """Return a reconciliation with batches of 5 rows or objects."""
    return replace(rt.reconciliation, batch=5)


def put_into_inbox(rt: Runtime, images: list[UUID]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda uuid: rt.inbox.put(str(uuid), b"x", "image/jpeg"), images))


def add_rows(rt: Runtime, count: int, columns: str) -> list[UUID]:
    """Insert rows that only differ in their uuid. `columns` is an UPDATE's SET clause."""
    images = [uuid4() for _ in range(count)]
    with rt.database.transaction() as tx:
        tx.rows(
            """INSERT INTO images (uuid, filename, status)
               SELECT uuid, 'many.jpg', 'pending' FROM unnest(CAST(:images AS uuid[])) AS uuid""",
            images=images,
        )
        tx.rows(
            f"UPDATE images SET {columns} WHERE uuid = ANY(CAST(:images AS uuid[]))",  # noqa: S608  no caller's
            images=images,
        )
    return images


def count_rows(rt: Runtime, images: list[UUID], condition: str = "true") -> int:
    with rt.database.transaction() as tx:
        return len(
            tx.rows(
                f"SELECT 1 FROM images WHERE uuid = ANY(CAST(:images AS uuid[])) AND {condition}",  # noqa: S608  (same)
                images=images,
            )
        )


@pytest.fixture
def count_requests(rt: Runtime) -> Iterator[Callable[[], Counter[UUID]]]:
    """Return how often each image was requested since the test began."""
    with KafkaConsumer(bootstrap_servers=rt.settings.kafka.bootstrap_servers, consumer_timeout_ms=2000) as consumer:
        consumer.assign([TopicPartition(TASKS, each) for each in consumer.partitions_for_topic(TASKS)])
        consumer.seek_to_end()
        for partition in consumer.assignment():
            consumer.position(partition)
        yield lambda: Counter(UUID(message.key.decode()) for message in consumer)


def test_waiting_uploads_are_requested_once_per_grace_period(
    rt: Runtime, backlog: list[UUID], count_requests: Callable[[], Counter[UUID]]
) -> None:
    backlog += [uuid4() for _ in range(30)]
    for uuid in backlog:
        rt.images.reserve(uuid, "waits.jpg")
    put_into_inbox(rt, backlog)
    sleep(1.1)  # the store's clock has whole seconds
    settings = rt.settings.processing.model_copy(update={"pending_grace_seconds": 600.0})
    patient = replace(rt.reconciliation, recovery=replace(rt.reconciliation.recovery, settings=settings))

    first = rt.reconciliation.run()
    for _ in range(3):
        patient.run()

    assert "adopted" not in first, "they have rows already"
    requests = count_requests()
    assert requests.keys() & set(backlog)
    assert max(requests[uuid] for uuid in backlog) <= 2  # once in the first tick, and once in all others


def test_an_upload_without_a_notification_becomes_visible(rt: Runtime, backlog: list[UUID]) -> None:
    uuid = uuid4()
    backlog.append(uuid)
    rt.images.reserve(uuid, "waits.jpg")
    put_into_inbox(rt, backlog)
    sleep(1.1)

    rt.reconciliation.run()

    assert rt.image_queries.get(uuid).status in (ImageStatus.PENDING, ImageStatus.PROCESSING)


def test_objects_that_cannot_be_adopted_do_not_block_others(
    rt: Runtime, s3: "S3Client", small_steps: Reconciliation, backlog: list[UUID], lock_object: Callable[[str], None]
) -> None:
    locked = [f"000/locked-{number}.jpg" for number in range(7)]
    for key in locked:
        lock_object(key)
    backlog += [uuid4() for _ in range(23)]
    put_into_inbox(rt, backlog)
    sleep(1.1)

    repairs = small_steps.run()

    assert repairs["not_repaired"] == len(locked)
    assert count_rows(rt, backlog) == len(backlog)


def test_a_scan_of_the_inbox_continues_where_the_last_one_stopped(
    rt: Runtime, small_steps: Reconciliation, backlog: list[UUID]
) -> None:
    backlog += [UUID(int=number) for number in range(1, 13)]  # before all others
    put_into_inbox(rt, backlog)
    sleep(1.1)
    rt.reconciliation.run()  # to its end, so that the next scan starts anew
    with rt.database.transaction() as tx:
        tx.rows("DELETE FROM images WHERE uuid = ANY(CAST(:images AS uuid[]))", images=backlog)
    little = replace(small_steps, budget=rt.settings.reconciliation.model_copy(update={"rows": 5}))

    adopted = []
    for _ in range(3):
        little.run()
        adopted.append(count_rows(rt, backlog))

    assert adopted == [5, 10, 12]


@pytest.mark.parametrize("key", ["line\nfeed.jpg", "carriage\rreturn.jpg", "escape\x1b[31m.jpg"])
def test_an_object_whose_notification_cannot_be_delivered_is_adopted(rt: Runtime, key: str) -> None:
    rt.inbox.put(key, make_photo(), "image/jpeg")
    found = rt.inbox.head(key)
    assert found
    sleep(1.1)

    rt.reconciliation.run()

    assert rt.image_queries.get(found.image).filename.isprintable()
    assert rt.inbox.head(str(found.image))
    assert rt.inbox.head(key) is None


def test_images_that_cannot_be_cleaned_up_do_not_block_others(
    rt: Runtime, small_steps: Reconciliation, backlog: list[UUID]
) -> None:
    # The store rejects every request for such a key.
    stuck = add_rows(rt, 20, "deleted_at = now() - interval '1 day', original_key = '..'")
    others = add_rows(rt, 48, "deleted_at = now()")
    backlog += stuck + others

    small_steps.run()

    # The platform's own tick may have found some of them first.
    wait_for(lambda: count_rows(rt, others, "cleaned_up_at IS NOT NULL"), lambda count: count == len(others))
    assert count_rows(rt, stuck, "cleaned_up_at IS NULL AND retry_at IS NOT NULL") == len(stuck)


def test_a_tick_ends_on_time_and_the_next_one_does_the_rest(rt: Runtime, backlog: list[UUID]) -> None:
    backlog += add_rows(rt, 1500, "deleted_at = now()")
    hasty = replace(rt.reconciliation, budget=rt.settings.reconciliation.model_copy(update={"seconds": 0.1}))
    began = monotonic()

    hasty.run()

    cleaned_up = count_rows(rt, backlog, "cleaned_up_at IS NOT NULL")
    assert 0 < cleaned_up < len(backlog)
    assert monotonic() - began < 30
    hasty.run()
    assert count_rows(rt, backlog, "cleaned_up_at IS NOT NULL") > cleaned_up


def test_any_number_of_expired_reservations_is_deleted_in_one_tick(rt: Runtime, backlog: list[UUID]) -> None:
    backlog += add_rows(rt, 5000, "status = 'awaiting_upload', due_at = now() - interval '2 hours'")

    rt.reconciliation.run()

    states = rt.image_queries.get_states(backlog)
    assert {state.deleted for state in states.values()} == {True}


def test_any_number_of_old_tombstones_and_dead_letters_is_deleted_in_one_tick(rt: Runtime, backlog: list[UUID]) -> None:
    old = "deleted_at = now() - interval '9 days', cleaned_up_at = now() - interval '9 days'"
    backlog += add_rows(rt, 3000, old)
    source = f"/{uuid4()}"
    with rt.database.transaction() as tx:
        tx.rows(
            """INSERT INTO dead_letters (event_source, event_id, event_type, reason, received_at)
               SELECT :source, number::text, 'test', 'for the test', now() - (number - 0.5) * interval '1 day'
               FROM generate_series(1, 3000) AS number""",
            source=source,
        )

    rt.reconciliation.run()

    assert count_rows(rt, backlog) == 0
    with rt.database.transaction() as tx:
        kept = len(tx.rows("SELECT 1 FROM dead_letters WHERE event_source = :source", source=source))
    assert kept == rt.settings.processing.dead_letter_days


def test_a_comparison_continues_where_the_last_tick_stopped(
    rt: Runtime, compare: Callable[..., dict[str, int]]
) -> None:
    early, late = f"originals/0-{uuid4()}.jpg", f"originals/z-{uuid4()}.jpg"
    for key in (early, late):
        rt.gallery.put(key, b"x", "image/jpeg")
    at_once = replace(rt.reconciliation, comparison=replace(rt.reconciliation.comparison, settling=timedelta(0)))

    compare(at_once, after="originals/y")
    assert (rt.gallery.head(early) is None, rt.gallery.head(late) is None) == (False, True)
    at_once.run()
    assert rt.gallery.head(early), "that comparison has passed it"
    compare(at_once)
    assert rt.gallery.head(early) is None


def test_a_listing_and_the_referenced_keys_are_paired_in_byte_order() -> None:
    def lie(key: str) -> StoredObject:
        return StoredObject(key=key, size=1, etag="", modified=datetime.now(UTC))

    stored = ["B", "a", "a-b", "é", "\U0001f600"]
    both = list(pair(map(lie, stored), ["A", "a", "é"], ["a", "z", "\uffff"]))

    assert [(each.key, each.found is not None, each.is_referenced) for each in both] == [
        ("A", False, True),
        ("B", True, False),
        ("a", True, True),
        ("a-b", True, False),
        ("z", False, True),
        ("é", True, True),
        ("\uffff", False, True),
        ("\U0001f600", True, False),
    ]


def test_referenced_keys_are_listed_in_byte_order(rt: Runtime, backlog: list[UUID]) -> None:
    keys = ["originals/B", "originals/a", "originals/a-b", "originals/é"]
    for key in reversed(keys):
        backlog += add_rows(rt, 1, f"original_key = '{key}'")

    assert [key for key in rt.drift.list_original_keys("originals/A") if key in keys] == keys


def test_redrive_retries_any_number_of_images_once_each(rt: Runtime, backlog: list[UUID]) -> None:
    failed = "status = 'failed', failure_code = 'too_many_bits', failure_message = '', completed_at = now()"
    backlog += add_rows(rt, 2500, failed)
    command = [sys.executable, "-m", "shared_lib.commands.redrive", "too_many_bits"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout == "2500 images will be tried again\n"
    assert count_rows(rt, backlog, "status = 'pending' AND due_at <= now()") == len(backlog)
