"""Reconciliation at any size: it goes on where it stopped, and what cannot be handled is in nobody's way."""

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

from shared_lib.domain.images import Status
from shared_lib.domain.uploads import StoredObject
from shared_lib.events import TASKS
from shared_lib.repositories.drift import pair
from shared_lib.runtime import Runtime
from shared_lib.services.reconciliation import Reconciliation

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WaitInInbox = Callable[..., UUID]


@pytest.fixture
def backlog(rt: Runtime) -> Iterator[list[UUID]]:
    """Images that a test leaves behind in numbers: their rows and objects go, or every later tick would meet them."""
    images: list[UUID] = []
    yield images
    rt.inbox.delete(*map(str, images))
    with rt.database.transaction() as tx:
        tx.rows("DELETE FROM images WHERE uuid = ANY(CAST(:images AS uuid[]))", images=images)


@pytest.fixture
def small_steps(rt: Runtime) -> Reconciliation:
    """A reconciliation that finds 5 rows or objects at once."""
    return replace(rt.reconciliation, batch=5)


def put_into_inbox(rt: Runtime, images: list[UUID]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda uuid: rt.inbox.put(str(uuid), b"x", "image/jpeg"), images))


def add_rows(rt: Runtime, count: int, columns: str) -> list[UUID]:
    """Rows that only differ in their uuid; `columns` is what stands between SET and WHERE."""
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
    """How often each image has been asked for since the test began."""
    with KafkaConsumer(bootstrap_servers=rt.settings.kafka.bootstrap_servers, consumer_timeout_ms=2000) as consumer:
        consumer.assign([TopicPartition(TASKS, each) for each in consumer.partitions_for_topic(TASKS)])
        consumer.seek_to_end()
        for partition in consumer.assignment():
            consumer.position(partition)
        yield lambda: Counter(UUID(message.key.decode()) for message in consumer)


def test_uploads_that_wait_for_a_processor_are_asked_for_once_in_a_while(
    rt: Runtime, backlog: list[UUID], count_requests: Callable[[], Counter[UUID]]
) -> None:
    backlog += [uuid4() for _ in range(30)]
    for uuid in backlog:
        rt.images.reserve(uuid, "waits.jpg")
    put_into_inbox(rt, backlog)
    sleep(1.1)  # the store's clock knows whole seconds
    patient = rt.settings.processing.model_copy(update={"pending_grace_seconds": 600.0})

    first = rt.reconciliation.run(everything=False)
    for _ in range(3):
        replace(rt.reconciliation, settings=patient).run(everything=False)

    assert "adopted" not in first, "they have their rows"
    requests = count_requests()
    assert requests.keys() & set(backlog)
    assert max(requests[uuid] for uuid in backlog) <= 2  # once by the first tick, and once by all others


def test_an_upload_that_came_without_a_notification_is_no_longer_hidden(rt: Runtime, backlog: list[UUID]) -> None:
    uuid = uuid4()
    backlog.append(uuid)
    rt.images.reserve(uuid, "waits.jpg")
    put_into_inbox(rt, backlog)
    sleep(1.1)

    rt.reconciliation.run(everything=False)

    assert rt.image_queries.get(uuid).status in (Status.PENDING, Status.PROCESSING)


def test_objects_that_cannot_be_adopted_are_in_nobodys_way(
    rt: Runtime, s3: "S3Client", small_steps: Reconciliation, backlog: list[UUID], lock_object: Callable[[str], None]
) -> None:
    locked = [f"000/locked-{number}.jpg" for number in range(7)]
    for key in locked:
        lock_object(key)
    backlog += [uuid4() for _ in range(23)]
    put_into_inbox(rt, backlog)
    sleep(1.1)

    repairs = small_steps.run(everything=False)

    assert repairs["not_repaired"] == len(locked)
    assert count_rows(rt, backlog) == len(backlog)


def test_a_scan_of_the_inbox_goes_on_where_the_last_one_stopped(
    rt: Runtime, small_steps: Reconciliation, backlog: list[UUID]
) -> None:
    backlog += [UUID(int=number) for number in range(1, 13)]  # before all others
    put_into_inbox(rt, backlog)
    sleep(1.1)
    rt.reconciliation.run(everything=False)  # to its end, so that the next begins anew
    with rt.database.transaction() as tx:
        tx.rows("DELETE FROM images WHERE uuid = ANY(CAST(:images AS uuid[]))", images=backlog)
    little = replace(small_steps, budget=rt.settings.reconciliation.model_copy(update={"rows": 5}))

    adopted = []
    for _ in range(3):
        little.run(everything=False)
        adopted.append(count_rows(rt, backlog))

    assert adopted == [5, 10, 12]


@pytest.mark.parametrize("key", ["line\nfeed.jpg", "carriage\rreturn.jpg", "escape\x1b[31m.jpg"])
def test_an_object_whose_notification_cannot_be_delivered_is_adopted(rt: Runtime, key: str) -> None:
    rt.inbox.put(key, make_photo(), "image/jpeg")
    found = rt.inbox.head(key)
    assert found
    sleep(1.1)

    rt.reconciliation.run(everything=False)

    assert rt.image_queries.get(found.image).filename.isprintable()
    assert rt.inbox.head(str(found.image))
    assert rt.inbox.head(key) is None


def test_images_that_cannot_be_swept_are_in_nobodys_way(
    rt: Runtime, small_steps: Reconciliation, backlog: list[UUID]
) -> None:
    # The store refuses such a key, whatever is to be done with it.
    stuck = add_rows(rt, 20, "deleted_at = now() - interval '1 day', original_key = '..'")
    others = add_rows(rt, 48, "deleted_at = now()")
    backlog += stuck + others

    small_steps.run(everything=False)

    # The platform's own tick may have found some of them first.
    wait_for(lambda: count_rows(rt, others, "cleaned_up_at IS NOT NULL"), lambda swept: swept == len(others))
    assert count_rows(rt, stuck, "cleaned_up_at IS NULL AND retry_at IS NOT NULL") == len(stuck)


def test_a_tick_ends_when_its_time_is_up_and_the_next_does_the_rest(rt: Runtime, backlog: list[UUID]) -> None:
    backlog += add_rows(rt, 1500, "deleted_at = now()")
    hasty = replace(rt.reconciliation, budget=rt.settings.reconciliation.model_copy(update={"seconds": 0.1}))
    began = monotonic()

    hasty.run(everything=False)

    swept = count_rows(rt, backlog, "cleaned_up_at IS NOT NULL")
    assert 0 < swept < len(backlog)
    assert monotonic() - began < 30
    hasty.run(everything=False)
    assert count_rows(rt, backlog, "cleaned_up_at IS NOT NULL") > swept


def test_upload_urls_that_ran_out_unused_go_at_once_however_many_there_are(rt: Runtime, backlog: list[UUID]) -> None:
    backlog += add_rows(rt, 5000, "status = 'awaiting_upload', due_at = now() - interval '2 hours'")

    rt.reconciliation.run(everything=False)

    assert count_rows(rt, backlog) == 0


def test_tombstones_and_dead_letters_that_are_old_go_however_many_there_are(rt: Runtime, backlog: list[UUID]) -> None:
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

    rt.reconciliation.run(everything=False)

    assert count_rows(rt, backlog) == 0
    with rt.database.transaction() as tx:
        kept = len(tx.rows("SELECT 1 FROM dead_letters WHERE event_source = :source", source=source))
    assert kept == rt.settings.processing.dead_letter_days


def test_a_comparison_goes_on_where_the_last_tick_stopped(rt: Runtime, compare: Callable[..., dict[str, int]]) -> None:
    early, late = f"originals/0-{uuid4()}.jpg", f"originals/z-{uuid4()}.jpg"
    for key in (early, late):
        rt.gallery.put(key, b"x", "image/jpeg")
    at_once = replace(rt.reconciliation, comparison=replace(rt.reconciliation.comparison, settling=timedelta(0)))

    compare(at_once, after="originals/y")
    assert (rt.gallery.head(early) is None, rt.gallery.head(late) is None) == (False, True)
    at_once.run(everything=False)
    assert rt.gallery.head(early), "that comparison is over"
    compare(at_once)
    assert rt.gallery.head(early) is None


def test_a_listing_and_what_rows_name_are_lined_up_in_the_order_of_bytes() -> None:
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


def test_rows_name_their_keys_in_the_order_of_bytes(rt: Runtime, backlog: list[UUID]) -> None:
    keys = ["originals/B", "originals/a", "originals/a-b", "originals/é"]
    for key in reversed(keys):
        backlog += add_rows(rt, 1, f"original_key = '{key}'")

    assert [key for key in rt.drift.list_original_keys("originals/A") if key in keys] == keys


def test_redrive_takes_any_number_each_once(rt: Runtime, backlog: list[UUID]) -> None:
    failed = "status = 'failed', failure_code = 'too_many_bits', failure_message = '', completed_at = now()"
    backlog += add_rows(rt, 2500, failed)
    command = [sys.executable, "-m", "shared_lib.commands.redrive", "too_many_bits"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout == "2500 images will be tried again\n"
    assert count_rows(rt, backlog, "status = 'pending' AND due_at <= now()") == len(backlog)
