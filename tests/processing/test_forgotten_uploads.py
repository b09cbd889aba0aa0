"""Reconciliation aborts multipart uploads that nobody will complete, and no others."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

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

    assert repairs["upload_aborted"] == 2 + len(without_row)
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
