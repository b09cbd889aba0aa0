"""A tenant's backlog delays no other tenant's images."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import count
from uuid import UUID, uuid4

import pytest
from service import make_photo

from shared_lib.database.connection import ALL_TENANTS, acting_for
from shared_lib.domain.images import ImageStatus
from shared_lib.domain.uploads import compose_upload_key
from shared_lib.repositories.fairness import Fairness
from shared_lib.runtime import Runtime
from shared_lib.services.processing import Processor

BUSY, CALM = "m-busy", "calm"
numbers = count()


@pytest.fixture(autouse=True)
def tenants(apart: Runtime) -> Iterator[None]:
    """Begin with two tenants and no image."""
    with acting_for(ALL_TENANTS), apart.database.transaction() as tx:
        tx.rows("DELETE FROM images")
        for tenant in (BUSY, CALM, "z-calm"):
            tx.rows("INSERT INTO tenants (id) VALUES (:id) ON CONFLICT DO NOTHING", id=tenant)
    with acting_for(ALL_TENANTS):
        yield


@pytest.fixture
def processor(apart: Runtime) -> Processor:
    """Return one whose latest image had to wait."""
    made = replace(apart.processor, fairness=Fairness(apart.database))
    made.fairness.note_wait(1)
    return made


def make_image(apart: Runtime, tenant: str, data: bytes | None = None, *, waited: float = 1) -> UUID:
    """Make an image that has waited for so many seconds, with its object in the inbox if `data` is given."""
    uuid = uuid4()
    with acting_for(tenant):
        apart.images.create(uuid, f"{next(numbers)}.jpg", None, 0)
    if data is not None:
        apart.inbox.put(compose_upload_key(tenant, uuid), data, "image/jpeg")
    with apart.database.transaction() as tx:
        tx.rows(
            """UPDATE images SET queued_at = now() - make_interval(secs => :waited),
                                 due_at = due_at - make_interval(secs => :waited) WHERE uuid = :uuid""",
            waited=waited,
            uuid=uuid,
        )
    return uuid


def record_work(apart: Runtime, tenant: str, seconds: float) -> None:
    """Have a processor worked for the tenant for so long, until now."""
    with apart.database.transaction() as tx:
        tx.rows(
            """INSERT INTO processing_attempts (tenant_id, image_id, fence, started_at, ended_at, outcome)
               VALUES (:owner, :uuid, 1, now() - make_interval(secs => :seconds), now(), 'succeeded')""",
            owner=tenant,
            uuid=make_image(apart, tenant, waited=-60),
            seconds=seconds,
        )


def find_start(apart: Runtime, uuid: UUID) -> datetime | None:
    """Return when the image's last attempt began."""
    with apart.database.transaction() as tx:
        rows = tx.rows("SELECT max(started_at) AS start FROM processing_attempts WHERE image_id = :uuid", uuid=uuid)
    start: datetime | None = rows[0]["start"]
    return start


def read_status(apart: Runtime, uuid: UUID) -> str:
    with apart.database.transaction() as tx:
        return str(tx.rows("SELECT status FROM images WHERE uuid = :uuid", uuid=uuid)[0]["status"])


@pytest.mark.parametrize("calm", [CALM, "z-calm"])
def test_images_of_tenants_that_have_had_less_done_come_first(apart: Runtime, processor: Processor, calm: str) -> None:
    record_work(apart, BUSY, 5)
    waiting = [make_image(apart, calm, make_photo()) for _ in range(2)]
    busy = make_image(apart, BUSY, make_photo())

    processor.process(busy)

    began = [find_start(apart, each) for each in (*waiting, busy)]
    assert None not in began
    assert began[-1] == max(filter(None, began)), "its own image was processed last"
    assert {read_status(apart, each) for each in (*waiting, busy)} == {ImageStatus.SUCCEEDED}


@pytest.mark.parametrize("work", [{}, {CALM: 2}, {BUSY: 2, CALM: 2.5}])
def test_no_tenant_comes_before_another_that_has_had_less_done(
    apart: Runtime, processor: Processor, work: dict[str, float]
) -> None:
    for tenant, seconds in work.items():
        record_work(apart, tenant, seconds)
    waiting = make_image(apart, CALM, make_photo())
    own = make_image(apart, BUSY, make_photo())

    processor.process(own)

    assert read_status(apart, own) == ImageStatus.SUCCEEDED
    assert find_start(apart, waiting) is None


def test_nothing_is_compared_while_images_do_not_wait(apart: Runtime, processor: Processor) -> None:
    record_work(apart, BUSY, 5)
    processor.fairness.note_wait(0)
    waiting = make_image(apart, CALM, make_photo())

    processor.process(make_image(apart, BUSY, make_photo()))
    assert find_start(apart, waiting) is None, "the image before it had not waited"

    processor.process(make_image(apart, BUSY, make_photo()))
    assert find_start(apart, waiting)


def test_an_image_whose_event_may_still_come_in_time_is_left_to_it(apart: Runtime, processor: Processor) -> None:
    record_work(apart, BUSY, 5)
    arriving = make_image(apart, CALM, make_photo(), waited=-60)
    own = make_image(apart, BUSY, make_photo())

    processor.process(own)

    assert find_start(apart, arriving) is None


def test_an_image_whose_object_is_not_there_costs_no_attempt_and_stops_nothing(
    apart: Runtime, processor: Processor
) -> None:
    record_work(apart, BUSY, 5)
    missing = make_image(apart, CALM)
    own = make_image(apart, BUSY, make_photo())

    processor.process(own)

    assert find_start(apart, missing) is None
    assert read_status(apart, own) == ImageStatus.SUCCEEDED


def test_an_image_that_was_tried_is_left_to_its_own_event(apart: Runtime, processor: Processor) -> None:
    record_work(apart, BUSY, 5)
    tried = make_image(apart, CALM, make_photo())
    own = make_image(apart, BUSY, make_photo())
    with pytest.raises(KeyError), apart.claims.hold(tried):
        raise KeyError

    processor.process(own)

    assert read_status(apart, tried) == ImageStatus.PENDING
    assert read_status(apart, own) == ImageStatus.SUCCEEDED


def test_an_image_that_fails_stops_no_other(apart: Runtime, processor: Processor) -> None:
    record_work(apart, BUSY, 5)
    bad = make_image(apart, CALM, b"no image")
    own = make_image(apart, BUSY, make_photo())

    processor.process(own)

    assert (read_status(apart, bad), read_status(apart, own)) == (ImageStatus.FAILED, ImageStatus.SUCCEEDED)


def test_overdue_images_of_all_tenants_are_requested_in_turns(apart: Runtime) -> None:
    busy = {make_image(apart, BUSY, waited=200 - each) for each in range(9)}
    calm = {make_image(apart, CALM, waited=50), make_image(apart, "z-calm", waited=50)}

    batches = [{each.uuid for each in apart.drift.find_overdue(600, batch=4)} for _ in range(3)]

    assert calm <= batches[0]
    assert [len(each) for each in batches] == [4, 4, 3]
    assert set().union(*batches) == busy | calm
