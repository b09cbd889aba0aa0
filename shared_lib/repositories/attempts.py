"""The record of every attempt at an image, and the decision that it was tried often enough.

An attempt is counted in the claim's own commit, before any byte is decoded, so that an image that kills its worker
cannot do so for ever.
"""

from typing import NamedTuple
from uuid import UUID

from shared_lib.database.connection import Transaction
from shared_lib.errors import FailureCode, Rejected
from shared_lib.settings import Processing

END_ATTEMPT = """
    UPDATE processing_attempts SET ended_at = now(), outcome = :outcome, reason = :reason
    WHERE image_id = :uuid AND fence = :fence AND outcome IS NULL
"""
_ERASE_ATTEMPT = "DELETE FROM processing_attempts WHERE image_id = :uuid AND fence = :fence AND outcome IS NULL"
_SUMMARIZE_ATTEMPTS = """
    SELECT count(*) FILTER (WHERE outcome IN ('crashed', 'errored', 'lost')) AS abnormal,
           (array_agg(outcome ORDER BY fence DESC))[1] AS last
    FROM (SELECT outcome, fence FROM processing_attempts WHERE image_id = :uuid
          ORDER BY fence DESC LIMIT :attempts) recent
"""
_FINAL = ("succeeded", "failed")
_CODES = {"crashed": FailureCode.DECODER_CRASHED, "errored": FailureCode.INTERNAL_ERROR}


class History(NamedTuple):
    """Attempts since the last one that reached an end."""

    attempts: int = 0
    abnormal: int = 0
    """Attempts that ended in a crashed sandbox worker or a lost processor."""
    last: str | None = None
    """The last one's outcome."""

    def find_exhaustion(self, settings: Processing) -> Rejected | None:
        """Return the reason to try no more, if there is one."""
        if self.abnormal >= settings.max_abnormal_attempts:
            code = _CODES.get(self.last or "", FailureCode.WORKER_LOST)
            return Rejected(code, f"Processing broke off abnormally {self.abnormal} times")
        if self.attempts >= settings.max_attempts:
            return Rejected(
                FailureCode.DELIVERY_GIVEN_UP, f"Processing was tried {self.attempts} times without reaching an end"
            )
        return None


def read_history(tx: Transaction, uuid: UUID, attempts: int) -> History:
    """Return the last `attempts` attempts, or none if renditions were requested after an end: that is tried anew."""
    if not attempts:
        return History()
    row = tx.rows(_SUMMARIZE_ATTEMPTS, uuid=uuid, attempts=attempts)[0]
    return History() if row["last"] in _FINAL else History(attempts, row["abnormal"], row["last"])


def end_attempt(tx: Transaction, uuid: UUID, fence: int, outcome: str, reason: str | None) -> None:
    tx.rows(END_ATTEMPT, uuid=uuid, fence=fence, outcome=outcome, reason=reason)


def erase_attempt(tx: Transaction, uuid: UUID, fence: int) -> None:
    """Take back an attempt that found nothing to work on, or nothing to work with."""
    tx.rows(_ERASE_ATTEMPT, uuid=uuid, fence=fence)
