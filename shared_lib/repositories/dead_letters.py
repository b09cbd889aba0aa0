"""Dead letters: events that a source could not deliver, kept with the reason.

Of an event's data, only the images that it names are kept. The rest may hold a filename: an object's key is one, if it
came from elsewhere.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from shared_lib.database.connection import Database
from shared_lib.domain.audit import Action
from shared_lib.domain.operations import DeadLetterNotFound, RecordedDeadLetter
from shared_lib.events import clean_text
from shared_lib.observability import get_logger
from shared_lib.repositories import audit

log = get_logger()

# A deleted image's data is not kept. A letter about no image that there is belongs to the tenant that the event names,
# and one that names none to the operator's.
_INSERT_DEAD_LETTER = """
    INSERT INTO dead_letters (tenant_id, event_source, event_id, event_type, image_id, code, reason, destination, data)
    VALUES (coalesce((SELECT tenant_id FROM images WHERE uuid = :image), (SELECT id FROM tenants WHERE id = :named),
                     'default'), :source, :id, :type, :image,
            :code, :reason, :destination, CASE WHEN NOT EXISTS (
        SELECT 1 FROM images WHERE uuid = :image AND deleted_at IS NOT NULL) THEN CAST(:data AS bytea) END)
    ON CONFLICT (event_source, event_id) DO UPDATE SET code = EXCLUDED.code, reason = EXCLUDED.reason,
        received_at = now()
"""
_PURGE_DEAD_LETTERS = """
    DELETE FROM dead_letters WHERE id = ANY(ARRAY(
        SELECT id FROM dead_letters WHERE received_at < now() - make_interval(days => :days)
        ORDER BY received_at LIMIT :batch FOR UPDATE SKIP LOCKED))
    RETURNING id
"""
_LIST_DEAD_LETTERS = """
    SELECT id, event_source, event_id, event_type, image_id, code, reason, destination, received_at
    FROM dead_letters WHERE tenant_id = :tenant AND id < :before ORDER BY id DESC LIMIT :limit
"""
_SELECT_DEAD_LETTER = """
    SELECT id, event_source, event_id, event_type, image_id, code, reason, destination, received_at
    FROM dead_letters WHERE tenant_id = :tenant AND id = :id
"""
_DISCARD_DEAD_LETTER = "DELETE FROM dead_letters WHERE tenant_id = :tenant AND id = :id RETURNING id"
_LAST = 2**63 - 1
_BATCH = 500  # rows per statement: far from the time limit
_MAX_TEXT = 500  # characters of an attribute that are kept


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was not accepted."""

    source: str
    id: str
    type: str
    images: Sequence[UUID]
    """The images that it names, if it can be read."""
    tenant: str | None
    """Whose they are, as it says."""
    code: int | None
    """The last HTTP status; None if there was no response at all."""
    reason: str
    destination: str | None


class DeadLetters:
    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, letter: DeadLetter) -> None:
        """Store a dead letter once, however often it is delivered, cut to a readable length."""
        image = next(iter(letter.images), None)
        with self._database.transaction() as tx:
            tx.rows(
                _INSERT_DEAD_LETTER,
                source=clean_text(letter.source, _MAX_TEXT),
                id=clean_text(letter.id, _MAX_TEXT),
                type=clean_text(letter.type, _MAX_TEXT),
                image=image,
                named=letter.tenant,
                code=letter.code,
                reason=clean_text(letter.reason, _MAX_TEXT),
                destination=letter.destination and clean_text(letter.destination, _MAX_TEXT),
                data=json.dumps({"images": [*map(str, letter.images)]}).encode(),
            )
        log.warning(
            "dead_letter_recorded",
            image=image and str(image),
            code=letter.code,
            reason=clean_text(letter.reason, _MAX_TEXT),
        )

    def list(self, limit: int, before: int | None = None) -> list[RecordedDeadLetter]:
        """Return the newest ones, of those with an ID below `before`."""
        with self._database.transaction() as tx:
            rows = tx.last(_LIST_DEAD_LETTERS, limit=limit, before=_LAST if before is None else before)
        return [RecordedDeadLetter(**row) for row in rows]

    def get(self, letter_id: int) -> RecordedDeadLetter:
        """Raises NotFound."""
        with self._database.transaction() as tx:
            rows = tx.last(_SELECT_DEAD_LETTER, id=letter_id)
        if not rows:
            raise DeadLetterNotFound
        return RecordedDeadLetter(**rows[0])

    def discard(self, letter_id: int) -> None:
        """Delete one, if there is one with that ID."""
        with self._database.transaction() as tx:
            if tx.row(_DISCARD_DEAD_LETTER, id=letter_id):
                audit.record(tx, Action.DEAD_LETTER_DISCARDED, f"{letter_id}")

    def purge(self, days: int) -> int:
        """Delete a batch of those received more than so many days ago. Return how many; 0 when none is left."""
        with self._database.transaction() as tx:
            return len(tx.rows(_PURGE_DEAD_LETTERS, days=days, batch=_BATCH))
