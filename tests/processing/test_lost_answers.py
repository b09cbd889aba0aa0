"""The database commits, and its answer is lost with the connection: what is done is done once, and nothing is lost.

A transaction of one round trip is run again on a new connection, so it has to be one that may run twice.
"""

from collections import Counter
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from postgres_proxy import PostgresProxy
from published import make_and_store
from service import make_photo, wait_for

from shared_lib.delivery.engine import Found
from shared_lib.domain.audit import Action
from shared_lib.errors import CommitUncertain
from shared_lib.repositories.leases import LeaseKeeper
from shared_lib.runtime import Runtime

Proxied = tuple[Runtime, PostgresProxy]


def upload(rt: Runtime) -> UUID:
    return rt.ingestion.ingest("lost.jpg", None, make_photo(), "image/jpeg")


@pytest.fixture(scope="module")
def image(proxied: Proxied) -> UUID:
    rt, _ = proxied
    uuid = upload(rt)
    rt.processor.process(uuid)
    return uuid


@pytest.fixture
def find(proxied: Proxied, image: UUID) -> Callable[[int], Found]:
    """Find a rendition of that width."""
    rt, _ = proxied

    def find(width: int) -> Found:
        order = rt.delivery.urls.read(f"w={width}", f"{image}.webp", "any", granted=True)
        return rt.delivery.engine.find(order)

    return find


@pytest.mark.parametrize(
    ("width", "lost"), [(31, "find_delivery"), (32, "INSERT INTO deliveries"), (33, "UPDATE deliveries SET key")]
)
def test_a_rendition_is_made_once_whichever_answer_about_it_was_lost(
    proxied: Proxied, image: UUID, find: Callable[[int], Found], width: int, lost: str
) -> None:
    rt, proxy = proxied
    before = proxy.lost
    proxy.lose_answer(lost)

    made = make_and_store(rt, find(width))

    assert (proxy.lost - before, made.how) == (1, "stored")
    assert find(width).stored == made.stored
    with rt.database.transaction() as tx:
        rows = tx.rows("SELECT claim, key FROM deliveries WHERE recipe_hash = :hash", hash=find(width).recipe.hash)
    assert rows == [{"claim": None, "key": made.stored.key}]
    assert [each.key for each in rt.gallery.list(f"{image}/") if each.key == made.stored.key] == [made.stored.key]


def test_a_use_of_a_rendition_is_recorded_although_the_answer_was_lost(
    proxied: Proxied, find: Callable[[int], Found]
) -> None:
    rt, proxy = proxied
    make_and_store(rt, find(34))
    with rt.database.transaction() as tx:
        tx.rows("UPDATE deliveries SET used_at = now() - interval '9 days'")
    before = proxy.lost
    proxy.lose_answer("UPDATE deliveries SET used_at")

    assert find(34).stored

    assert proxy.lost == before + 1
    with rt.database.transaction() as tx:
        assert tx.rows("SELECT 1 FROM deliveries WHERE used_at > now() - interval '1 day'")


def test_an_end_is_announced_once_although_the_answer_to_its_mark_was_lost(proxied: Proxied) -> None:
    rt, proxy = proxied
    uuid, before = upload(rt), proxy.lost
    proxy.lose_answer("DELETE FROM outbox")

    rt.processor.process(uuid)

    assert proxy.lost == before + 1
    state = rt.image_queries.get_state(uuid)
    assert state
    assert state.announced


def test_a_lease_is_held_although_the_answer_to_its_renewal_was_lost(proxied: Proxied) -> None:
    rt, proxy = proxied
    uuid, before = upload(rt), proxy.lost
    with rt.claims.hold(uuid) as claim:
        assert claim
        keeper = LeaseKeeper(rt.database, seconds=3600)
        keeper.keep(claim.lease)
        proxy.lose_answer("UPDATE images SET lease_until")

        keeper.renew()

        assert proxy.lost == before + 1
        claim.lease.ensure_held()
        with rt.database.transaction() as tx:
            rows = tx.rows("SELECT lease_until > now() + interval '59 min' AS held FROM images WHERE uuid = :u", u=uuid)
        assert rows == [{"held": True}]


def test_a_run_of_reconciliation_is_counted_once_although_the_answer_was_lost(proxied: Proxied) -> None:
    rt, proxy = proxied
    runs = rt.operations.summarize().reconciliation.runs
    proxy.lose_answer("INSERT INTO reconciliation_counts")

    with pytest.raises(CommitUncertain):
        rt.operations.record_run(Counter(), failed=False)

    assert rt.operations.summarize().reconciliation.runs == runs + 1


def test_a_denial_is_recorded_once_although_the_answer_was_lost(proxied: Proxied) -> None:
    rt, proxy = proxied
    subject = f"{uuid4()}"
    rt.database.ping()  # a connection is idle
    proxy.lose_answer("INSERT INTO audit_events")

    with pytest.raises(CommitUncertain):
        rt.audit_log.record(Action.ACCESS_DENIED, subject)

    assert [each.action for each in rt.audit_log.list(9, subject=subject)] == [Action.ACCESS_DENIED]


def test_an_upload_whose_commit_is_not_answered_does_not_appear_later(proxied: Proxied) -> None:
    rt, proxy = proxied
    proxy.lose_answer("INSERT INTO images")
    filename = f"{uuid4()}.jpg"

    with pytest.raises(CommitUncertain):
        rt.ingestion.ingest(filename, None, make_photo(), "image/jpeg")

    with rt.database.transaction() as tx:
        [row] = tx.rows("SELECT uuid FROM images WHERE filename = :filename", filename=filename)
    state = wait_for(lambda: rt.image_queries.get_state(row["uuid"]), lambda state: state is None or state.deleted)
    assert state, "the tombstone stays"
