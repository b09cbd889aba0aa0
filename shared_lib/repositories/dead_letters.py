"""What the event sources gave up on, kept with its reason."""

from dataclasses import dataclass
from uuid import UUID

from shared_lib.database import Database

_INSERT = """
    INSERT INTO dead_letters (event_source, event_id, event_type, image_id, code, reason, destination, data)
    VALUES (:source, :id, :type, :image, :code, :reason, :destination, :data)
    ON CONFLICT (event_source, event_id) DO UPDATE SET code = EXCLUDED.code, reason = EXCLUDED.reason,
        received_at = now()
"""


@dataclass(frozen=True)
class DeadLetter:
    """An event that was not accepted: `code` is the last HTTP status, None when there was no answer at all."""

    source: str
    id: str
    type: str
    image: UUID | None
    code: int | None
    reason: str
    destination: str | None
    data: bytes


class DeadLetters:
    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, letter: DeadLetter) -> None:
        """Write it down once, however often it is delivered."""
        with self._database.transaction() as tx:
            tx.rows(
                _INSERT,
                source=letter.source,
                id=letter.id,
                type=letter.type,
                image=letter.image,
                code=letter.code,
                reason=letter.reason,
                destination=letter.destination,
                data=letter.data,
            )
