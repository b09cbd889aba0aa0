"""The database commits, and its answer is lost with the connection: what is done is done once, and nothing is lost.

A transaction of one round trip is run again on a new connection, so it has to be one that may run twice.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
import requests
from postgres_proxy import PostgresProxy
from published import make_and_store
from service import Api, Platform, make_photo, start_function

from shared_lib.delivery.engine import Found
from shared_lib.domain.audit import Action
from shared_lib.domain.images import ImageStatus
from shared_lib.domain.uploads import Original
from shared_lib.errors import CommitUncertain, Unavailable
from shared_lib.repositories.leases import LeaseKeeper
from shared_lib.runtime import Runtime
from shared_lib.storage.buckets import Gallery

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
    ("width", "lost"), [(31, "find_rendition"), (32, "INSERT INTO deliveries"), (33, "UPDATE deliveries SET key")]
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


def test_a_refused_upload_never_appears_though_its_process_died_and_the_database_committed_it(
    platform: Platform, api: Api, rt: Runtime
) -> None:
    proxy = PostgresProxy(platform.environment["DATABASE_URL"])
    process, port = start_function(platform, "upload_image", DATABASE_URL=proxy.url)
    filename = f"{uuid4()}.jpg"
    proxy.lose_answer("INSERT INTO images", times=2)  # also when it is sent again

    answer = requests.post(
        f"http://127.0.0.1:{port}/api/v1/images/actions/upload", files={"file": (filename, make_photo())}, timeout=30
    )
    process.kill()
    process.wait(30)
    proxy.close()

    assert (answer.status_code, proxy.lost) == (503, 2)
    with rt.database.transaction() as tx:
        [row] = tx.rows("SELECT uuid, tenant_id FROM images WHERE filename = :filename", filename=filename)
    assert not _is_seen(api, row["uuid"], filename)
    with rt.database.transaction() as tx:  # as much later
        tx.rows("UPDATE images SET due_at = now() - interval '16 min' WHERE uuid = :uuid", uuid=row["uuid"])
    rt.reconciliation.run()
    assert not _is_seen(api, row["uuid"], filename)
    state = rt.image_queries.get_state(row["uuid"])
    assert state is None or state.deleted


def _is_seen(api: Api, uuid: UUID, filename: str) -> bool:
    found = api("GET", "/images", params={"search": filename, "status": "all"}).json()
    return bool(found) or api("GET", f"/images/{uuid}").status_code != 404


def test_an_upload_is_accepted_once_although_the_answer_to_its_confirmation_was_lost(proxied: Proxied) -> None:
    rt, proxy = proxied
    before = proxy.lost
    proxy.lose_answer("confirmed", times=2)  # also when it is sent again

    uuid = upload(rt)

    assert proxy.lost == before + 2
    assert rt.inbox.head(f"{uuid}") is None
    rt.processor.process(uuid)
    assert rt.image_queries.get(uuid).status is ImageStatus.SUCCEEDED


def test_an_upload_is_accepted_although_nobody_knows_whether_it_was_confirmed(proxied: Proxied) -> None:
    rt, proxy = proxied
    proxy.lose_answer("confirmed", times=2)
    uuid = replace(rt.ingestion, doubt_seconds=-1).ingest("lost.jpg", None, make_photo(), "image/jpeg")
    with rt.database.transaction() as tx:  # as it would be if the server had not committed it
        tx.rows("UPDATE images SET status = 'awaiting_upload' WHERE uuid = :uuid", uuid=uuid)

    rt.processor.process(uuid, f"{uuid}")

    assert rt.image_queries.get(uuid).filename == "lost.jpg"
    assert rt.image_queries.get(uuid).status is ImageStatus.SUCCEEDED
    rt.processor.process(uuid, f"{uuid}")  # the event of its object in the inbox
    assert rt.inbox.head(f"{uuid}") is None


def test_an_upload_whose_row_is_lost_with_the_database_is_refused(proxied: Proxied) -> None:
    rt, _ = proxied

    class Crash(Gallery):
        def store_original(self, original: Original, data: bytes, *, is_published: bool) -> None:
            super().store_original(original, data, is_published=is_published)
            with rt.database.transaction() as tx:  # it was not on the disk yet
                tx.rows("DELETE FROM images WHERE original_key = :key", key=original.key)

    with pytest.raises(Unavailable):
        replace(rt.ingestion, gallery=Crash(rt.store, rt.gallery.name)).ingest(
            "x.jpg", None, make_photo(), "image/jpeg"
        )
