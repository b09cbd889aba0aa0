"""Reconciliation aborts multipart uploads that nobody will complete, and no others."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import requests

from shared_lib.errors import NotFound
from shared_lib.runtime import Runtime

AT_ONCE = timedelta(seconds=-60)  # clocks of the store and the test may differ


def reconcile(rt: Runtime, batch: int = 2) -> dict[str, int]:
    uploads = replace(rt.reconciliation.abandoned_uploads, settling=AT_ONCE)
    return replace(rt.reconciliation, abandoned_uploads=uploads, batch=batch).run()


def begin(rt: Runtime) -> UUID:
    return rt.multipart_ingestion.begin(20 << 20, None, "jpg", None).uuid


def list_keys(rt: Runtime) -> set[str]:
    return {each.key for each in rt.multipart_store.list()}


def test_uploads_that_no_image_awaits_are_aborted_a_few_at_a_time(apart: Runtime) -> None:
    kept, deleted, expired = begin(apart), begin(apart), begin(apart)
    without_row = {f"{uuid4()}" for _ in range(5)}
    for key in without_row:
        apart.multipart_store.begin(key)
    with apart.database.transaction() as tx:
        tx.rows("UPDATE images SET deleted_at = now(), cleaned_up_at = now() WHERE uuid = :uuid", uuid=deleted)
        tx.rows("UPDATE images SET due_at = now() - interval '16 min' WHERE uuid = :uuid", uuid=expired)
    young = apart.reconciliation.run()
    assert "upload_aborted" not in young

    repairs = reconcile(apart)

    assert repairs["upload_aborted"] == 1 + len(without_row)  # that of the expired one was cleaned up
    assert list_keys(apart) == {f"{kept}"}
    assert reconcile(apart).get("upload_aborted") is None


def test_an_upload_that_another_client_began_has_its_time(apart: Runtime) -> None:
    apart.multipart_store.begin("holidays/pier.jpg")

    assert reconcile(apart).get("upload_aborted") is None
    assert "holidays/pier.jpg" in list_keys(apart)

    impatient = replace(apart.reconciliation.abandoned_uploads, multipart_seconds=-60)
    replace(apart.reconciliation, abandoned_uploads=impatient).run()
    assert "holidays/pier.jpg" not in list_keys(apart)


def test_a_row_is_forgotten_whose_upload_was_completed_by_a_process_that_died(apart: Runtime) -> None:
    uuid = begin(apart)
    apart.images.mark_arrived([uuid])

    reconcile(apart)

    with apart.database.transaction() as tx:
        assert tx.rows("SELECT 1 FROM multipart_uploads WHERE image_id = :uuid", uuid=uuid) == []


def send_part(rt: Runtime, uuid: UUID, times: int) -> None:
    for _ in range(times):
        _, [url] = rt.multipart_ingestion.sign(uuid, [3])
        requests.put(url, data=bytes(4 << 20), timeout=30).raise_for_status()


def read_reserved(rt: Runtime, uuid: UUID) -> int | None:
    with rt.database.transaction() as tx:
        reserved: int | None = tx.rows("SELECT reserved_bytes FROM images WHERE uuid = :uuid", uuid=uuid)[0][
            "reserved_bytes"
        ]
    return reserved


def test_an_upload_whose_parts_are_sent_again_and_again_is_deleted(apart: Runtime) -> None:
    once, often = begin(apart), begin(apart)  # 20 MiB each, of which a store such as SeaweedFS may keep twice as much
    send_part(apart, once, 2)
    send_part(apart, often, 6)
    apart.reconciliation.run()
    assert (read_reserved(apart, once), read_reserved(apart, often)) == (20 << 20, 24 << 20), "quotas know of them"

    send_part(apart, often, 7)
    repairs = apart.reconciliation.run()

    assert repairs["upload_too_large"] == 1
    with pytest.raises(NotFound):
        apart.multipart_ingestion.describe(often)
    assert f"{often}" not in list_keys(apart)
    assert apart.multipart_ingestion.describe(once).missing
    state = apart.image_queries.get_state(often)
    assert state
    assert state.deleted
