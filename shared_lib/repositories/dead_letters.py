"""What was given up: events that a source could not deliver, kept with their reason, and images to be tried again."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from shared_lib.database.connection import Database
from shared_lib.errors import FailureCode
from shared_lib.events import clean_text
from shared_lib.observability import get_logger

log = get_logger()

_INSERT = """
    INSERT INTO dead_letters (event_source, event_id, event_type, image_id, code, reason, destination, data)
    VALUES (:source, :id, :type, :image, :code, :reason, :destination, CASE WHEN NOT EXISTS (
        SELECT 1 FROM images WHERE uuid = :image AND deleted_at IS NOT NULL) THEN CAST(:data AS bytea) END)
    ON CONFLICT (event_source, event_id) DO UPDATE SET code = EXCLUDED.code, reason = EXCLUDED.reason,
        received_at = now()
"""
# A failed image's upload is kept for some days. Its attempts are counted anew.
_RETRY = """
    WITH retried AS (
        UPDATE images SET status = 'pending', attempts = 0, completed_at = NULL, announced = false,
                          failure_code = NULL, failure_message = NULL, due_at = now()
        WHERE uuid = ANY(ARRAY(
            SELECT uuid FROM images WHERE uuid > :after AND status = 'failed' AND deleted_at IS NULL
            AND failure_code = ANY(CAST(:codes AS text[])) AND created_at > now() - make_interval(days => :days)
            ORDER BY uuid LIMIT :batch FOR UPDATE))
        RETURNING uuid
    ) SELECT uuid FROM retried ORDER BY uuid
"""
# An image is locked before its orders, as by everyone who changes both.
_RETRY_ORDERS = """
    WITH held AS MATERIALIZED (
        SELECT uuid FROM images WHERE uuid = ANY(ARRAY(
            SELECT DISTINCT image_id FROM rendition_orders
            WHERE image_id > :after AND failure_code = ANY(CAST(:codes AS text[])) ORDER BY image_id LIMIT :batch))
        ORDER BY uuid FOR UPDATE
    ), ordered AS (
        UPDATE rendition_orders SET failure_code = NULL, failure_message = NULL
        WHERE image_id IN (SELECT uuid FROM held) AND failure_code = ANY(CAST(:codes AS text[])) RETURNING image_id
    ), retried AS (
        UPDATE images SET due_at = now() WHERE uuid IN (SELECT image_id FROM ordered) RETURNING uuid
    ) SELECT uuid FROM held ORDER BY uuid
"""
_PURGE = """
    DELETE FROM dead_letters WHERE id = ANY(ARRAY(
        SELECT id FROM dead_letters WHERE received_at < now() - make_interval(days => :days)
        ORDER BY received_at LIMIT :batch FOR UPDATE SKIP LOCKED))
    RETURNING id
"""
_BATCH = 500  # rows a statement changes: far from how long one may take
_FIRST = UUID(int=0)


_MOST_DATA = 64 * 1024  # bytes of an event's data that are kept: a store's notification has about one thousand
_MOST_TEXT = 500  # characters of an attribute that are kept


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
        """Write it down once, however often it is delivered, and no more of it than an operator reads."""
        with self._database.transaction() as tx:
            tx.rows(
                _INSERT,
                source=clean_text(letter.source, _MOST_TEXT),
                id=clean_text(letter.id, _MOST_TEXT),
                type=clean_text(letter.type, _MOST_TEXT),
                image=letter.image,
                code=letter.code,
                reason=clean_text(letter.reason, _MOST_TEXT),
                destination=letter.destination and clean_text(letter.destination, _MOST_TEXT),
                data=letter.data[:_MOST_DATA],
            )
        log.warning(
            "dead_letter_recorded",
            image=letter.image and str(letter.image),
            code=letter.code,
            reason=clean_text(letter.reason, _MOST_TEXT),
        )

    def purge(self, days: int) -> int:
        """Forget some of those that came more than so many days ago; answers how many, 0 when none is left."""
        with self._database.transaction() as tx:
            return len(tx.rows(_PURGE, days=days, batch=_BATCH))

    def redrive(self, codes: Iterable[FailureCode], days: int) -> int:
        """
        Have all tried again that was refused with these codes: images of the last `days`, and further renditions.

        Answers of how many images something is to be made. Each batch is committed for itself, and each image is met
        once: after a failure on the way, once more does the rest.
        """
        refused = [code.value for code in codes]
        images = sum(len(batch) for batch in self._walk(_RETRY, codes=refused, days=days))
        return images + sum(len(batch) for batch in self._walk(_RETRY_ORDERS, codes=refused))

    def _walk(self, sql: str, **values: object) -> Iterator[list[UUID]]:
        after = _FIRST
        while True:
            with self._database.transaction() as tx:
                batch = [row["uuid"] for row in tx.rows(sql, after=after, batch=_BATCH, **values)]
            if not batch:
                return
            yield batch
            after = batch[-1]
