"""A newer release has written values that this one doesn't know, and was rolled back."""

from uuid import UUID, uuid4

import pytest
from service import make_photo

from shared_lib.domain.images import Failure
from shared_lib.errors import FailureCode, Rejected
from shared_lib.runtime import Runtime

UNKNOWN = "haunted_image"
_FAIL = """
    UPDATE images SET status = 'failed', completed_at = now(), due_at = NULL, failure_code = :code,
                      failure_message = 'It is haunted.' WHERE uuid = :uuid
"""


@pytest.fixture
def failed(apart: Runtime) -> UUID:
    """An image that failed for an unknown reason, and whose object is in the inbox: reconciliation looks at both."""
    apart.images.create(uuid := uuid4(), "haunted.jpg", None, 0)
    apart.inbox.put(f"{uuid}", make_photo(), "image/jpeg")
    with apart.database.transaction() as tx:
        tx.rows(_FAIL, uuid=uuid, code=UNKNOWN)
    return uuid


def test_an_unknown_reason_stops_no_reconciliation(apart: Runtime, failed: UUID) -> None:
    repairs = apart.reconciliation.run()

    assert "not_repaired" not in repairs
    state = apart.image_queries.get_state(failed)
    assert state
    assert state.failure is FailureCode.OTHER
    assert apart.image_queries.get(failed).failure == Failure(FailureCode.OTHER, "It is haunted.")


def test_an_image_that_failed_for_an_unknown_reason_is_retried_as_one_of_the_others(
    apart: Runtime, failed: UUID
) -> None:
    apart.retries.retry([FailureCode.OTHER], 30)

    apart.processor.process(failed)
    assert apart.image_queries.get(failed).failure is None


def test_an_image_of_an_unknown_format_is_no_bug_of_ours(apart: Runtime) -> None:
    uuid = apart.ingestion.ingest("new.jpg", None, make_photo(), "image/jpeg")
    apart.processor.process(uuid)
    with apart.database.transaction() as tx:
        tx.rows("UPDATE images SET content_type = 'image/from-the-future' WHERE uuid = :uuid", uuid=uuid)

    with pytest.raises(Rejected, match="cannot read image/from-the-future"):
        apart.deliveries.find_image(uuid)
