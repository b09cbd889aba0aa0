"""Claims: who may process an image now, and the record of every attempt.

A claim has a lease, so that a dead worker's image comes free; a fence, so that a worker that outlived its lease
changes nothing; and an attempt counted in its own commit before any byte is decoded, so that an image that kills
its worker cannot do so for ever.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from shared_lib.database.connection import Database, Transaction
from shared_lib.domain.images import Status
from shared_lib.errors import (
    NOT_ITS_OWN_FAULT,
    Conflict,
    FailureCode,
    Rejected,
    RequestRefused,
    ServiceError,
    Unavailable,
)
from shared_lib.observability import get_logger
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.recipe_schema import write_knowledge
from shared_lib.pipeline.rendition import FailedRecipe, Rendered
from shared_lib.pipeline.sandbox.pool import DecoderCrashed, DecoderFailed
from shared_lib.repositories import originals, rendition_requests
from shared_lib.settings import Processing

log = get_logger()

_LOCK = """
    SELECT status, attempts, fence, lease_until > now() AS held, lease_until IS NOT NULL AS begun, original_key
    FROM images WHERE uuid = :uuid AND deleted_at IS NULL FOR UPDATE
"""
# An image that has succeeded stays so, whatever becomes of further renditions.
_CLAIM = """
    UPDATE images SET status = CASE status WHEN 'succeeded' THEN status ELSE 'processing' END,
                      attempts = :attempt, fence = fence + 1, due_at = NULL,
                      lease_until = now() + make_interval(secs => :lease)
    WHERE uuid = :uuid RETURNING fence, attempts
"""
_BEGIN = "INSERT INTO processing_attempts (image_id, fence) VALUES (:uuid, :fence)"
_END = """
    UPDATE processing_attempts SET ended_at = now(), outcome = :outcome, reason = :reason
    WHERE image_id = :uuid AND fence = :fence AND outcome IS NULL
"""
_PAST = """
    SELECT count(*) FILTER (WHERE outcome IN ('crashed', 'errored', 'lost')) AS abnormal,
           (array_agg(outcome ORDER BY fence DESC))[1] AS last
    FROM (SELECT outcome, fence FROM processing_attempts WHERE image_id = :uuid
          ORDER BY fence DESC LIMIT :attempts) recent
"""
_ENDS = ("succeeded", "failed")  # outcomes of attempts that reached one
_NO_PAST: dict[str, Any] = {"abnormal": 0, "last": None}
_RENEW = """
    UPDATE images SET lease_until = now() + make_interval(secs => :lease)
    WHERE uuid = :uuid AND fence = :fence AND lease_until IS NOT NULL RETURNING uuid
"""
# Its orders were withdrawn, fulfilled by an earlier worker, or refused just now, which is an end to be told.
_REST = """
    UPDATE images SET due_at = NULL, lease_until = CASE WHEN lease_until > now() THEN lease_until END,
                      completed_at = CASE WHEN :refused THEN now() ELSE completed_at END,
                      announced = announced AND NOT :refused
    WHERE uuid = :uuid AND (due_at IS NOT NULL OR lease_until < now() OR :refused)
"""
_RELEASE = """
    UPDATE images SET status = CASE status WHEN 'succeeded' THEN status ELSE 'pending' END, lease_until = NULL,
                      due_at = now() + make_interval(secs => :wait)
    WHERE uuid = :uuid AND fence = :fence AND lease_until IS NOT NULL
"""
_WITHDRAW = _RELEASE.replace("SET", "SET attempts = attempts - 1,")
# The fence decides: deleted, failed by someone else or claimed again, and nothing matches.
_SUCCEED = """
    UPDATE images SET status = 'succeeded', completed_at = now(), lease_until = NULL, announced = false,
                      content_type = :content_type, width = :width, height = :height,
                      knowledge = coalesce(CAST(:knowledge AS jsonb), knowledge),
                      perceptual_hash = coalesce(CAST(CAST(:perceptual_hash AS text) AS bit(64)), perceptual_hash),
                      preview = coalesce(:preview, preview), preview_type = coalesce(:preview_type, preview_type)
    WHERE uuid = :uuid AND fence = :fence AND lease_until IS NOT NULL AND deleted_at IS NULL RETURNING uuid
"""
_NAME_ORIGINAL = """
    UPDATE images SET original_key = :key, sha256 = :sha256, size_bytes = :size
    WHERE uuid = :uuid AND fence = :fence AND lease_until IS NOT NULL AND deleted_at IS NULL RETURNING uuid
"""
_LET_BE = """
    UPDATE images SET completed_at = now(), lease_until = NULL, announced = false
    WHERE uuid = :uuid AND fence = :fence AND lease_until IS NOT NULL AND deleted_at IS NULL RETURNING uuid
"""
_FAIL = """
    UPDATE images SET status = 'failed', completed_at = now(), lease_until = NULL, announced = false,
                      failure_code = :code, failure_message = :message, original_key = NULL
    WHERE uuid = :uuid AND fence = :fence AND status = 'processing' AND deleted_at IS NULL RETURNING uuid
"""


LOST = "The image was deleted or claimed anew while it was processed"


class Superseded(Conflict):
    """The claim was lost on the way: the image was deleted, ended or claimed by someone else. Publish nothing."""


@dataclass(frozen=True)
class Claim:
    """The sole right to process one image, until it is ended, let go, or its lease runs out."""

    uuid: UUID
    fence: int
    attempt: int
    abnormal: int
    """Attempts before that a dead decoder or worker ended."""
    orders: tuple[Recipe, ...]
    """What was asked for beyond what every image gets."""
    published: str | None
    """The original's key, of an image that has succeeded: the orders are all that is to be done."""
    database: Database
    settings: Processing
    began: float = field(default_factory=time.monotonic)
    lost: threading.Event = field(default_factory=threading.Event, compare=False)
    """Set when the lease could not be renewed because someone else has the image, or nobody any more."""

    @property
    def is_last(self) -> bool:
        """Whether an image that kills its decoder once more will be given up."""
        return self.abnormal + 1 >= self.settings.max_abnormal_attempts

    def name_original(self, key: str, sha256: str, size: int) -> None:
        """
        Note where the original is to lie: from now on nobody removes what is there, or will be.

        Raises Superseded when the claim was lost, and BeingRemoved while an equal original is.
        """
        values = {"uuid": self.uuid, "fence": self.fence, "key": key, "sha256": sha256, "size": size}
        with originals.naming(self.database, key) as tx:
            row = tx.row(_NAME_ORIGINAL, **values)
        if row is None:
            raise Superseded(LOST)

    def ensure_held(self) -> None:
        """Raises Superseded when the claim is known to be lost: what more is done for it is in vain."""
        if self.lost.is_set():
            raise Superseded(LOST)

    def succeed(self, rendered: Rendered, keys: dict[str, str]) -> None:
        """
        Publish, in one conditional update, what lies in the store. `keys` gives each rendition's name its key.

        Raises Superseded when the claim was lost; what was written is then the caller's to remove.
        """
        preview = next((each for each in rendered.renditions if each.name == THUMBNAIL.name), None)
        known = rendered.knowledge
        published = {
            "content_type": rendered.content_type,
            "width": rendered.width,
            "height": rendered.height,
            "knowledge": known and write_knowledge(known),
            "perceptual_hash": f"x{known.perceptual_hash}" if known and known.perceptual_hash else None,
            "preview": preview and preview.data,
            "preview_type": preview and preview.content_type,
        }
        with self.database.transaction() as tx:
            self._end(tx, _SUCCEED, "succeeded", None, published)
            for each in rendered.renditions:
                rendition_requests.fulfil(tx, self.uuid, each, keys[each.name], unasked=not self.published)
            rendition_requests.refuse(tx, self.uuid, rendered.failed, unasked=not self.published)
        refused = {each.recipe.name: each.reason.code for each in rendered.failed}
        event = "renditions_made" if self.published else "image_succeeded"
        self._log_end(log.info, event, renditions=len(rendered.renditions), refused=refused)

    def fail(self, reason: Rejected) -> None:
        """
        End what was to be done as failed, for a reason that no retry changes. Raises Superseded.

        That is the image, or the orders alone if it has succeeded before.
        """
        with self.database.transaction() as tx:
            if self.published:
                self._end(tx, _LET_BE, "failed", reason.code, {})
                rendition_requests.refuse(
                    tx, self.uuid, [FailedRecipe(recipe, reason) for recipe in self.orders], unasked=False
                )
            else:
                self._end(tx, _FAIL, "failed", reason.code, {"code": reason.code, "message": reason.public})
        write = log.warning if reason.failure in NOT_ITS_OWN_FAULT else log.info
        event = "renditions_failed" if self.published else "image_failed"
        self._log_end(write, event, code=reason.code, reason=reason.public)

    def _log_end(self, write: Callable[..., None], event: str, **fields: object) -> None:
        ms = round((time.monotonic() - self.began) * 1000)
        write(event, image=str(self.uuid), attempts=self.attempt, ms=ms, **fields)

    def _end(self, tx: Transaction, sql: str, outcome: str, reason: str | None, values: dict[str, Any]) -> None:
        if tx.row(sql, uuid=self.uuid, fence=self.fence, **values) is None:
            raise Superseded(LOST)
        tx.rows(_END, uuid=self.uuid, fence=self.fence, outcome=outcome, reason=reason)

    def withdraw(self) -> None:
        """Undo the claim, attempt included: there was nothing to work on, or nothing to work with."""
        with self.database.transaction() as tx:
            tx.rows(_WITHDRAW, uuid=self.uuid, fence=self.fence, wait=self.settings.pending_grace_seconds)
            tx.rows(
                "DELETE FROM processing_attempts WHERE image_id = :uuid AND fence = :fence AND outcome IS NULL",
                uuid=self.uuid,
                fence=self.fence,
            )

    def renew(self) -> bool:
        """False when the claim was lost."""
        with self.database.transaction() as tx:
            return tx.row(_RENEW, uuid=self.uuid, fence=self.fence, lease=self.settings.lease_seconds) is not None

    def release(self, error: BaseException) -> None:
        """
        Let go of an image whose attempt broke off, so that the next delivery may try at once.

        An attempt that an outage broke off does not count: however long the outage lasts, it fails no image.
        """
        outage = isinstance(error, Unavailable) and not isinstance(error, RequestRefused)
        if outage:
            self.withdraw()
        else:
            self._break_off(error)
        self._log_end(log.warning, "attempt_broke_off", error=type(error).__name__, counted=not outage)

    def _break_off(self, error: BaseException) -> None:
        outcomes: dict[type[BaseException], str] = {DecoderCrashed: "crashed", DecoderFailed: "errored"}
        outcome = outcomes.get(type(error), "released")
        reason = error.public if isinstance(error, ServiceError) else type(error).__name__
        with self.database.transaction() as tx:
            tx.rows(_END, uuid=self.uuid, fence=self.fence, outcome=outcome, reason=reason)
            tx.rows(_RELEASE, uuid=self.uuid, fence=self.fence, wait=self.settings.pending_grace_seconds)


def take(database: Database, uuid: UUID, settings: Processing) -> Claim | None:
    """
    Claim an image, or answer None if it has ended, with nothing more to be made of it, or is gone.

    An image that has used up its attempts is failed here, before it can do more harm. Raises Conflict while
    someone else's lease runs: only an ended image is a success, all else has to come back.
    """
    with database.transaction() as tx:
        row = tx.row(_LOCK, uuid=uuid)
        if row is None or row["status"] == Status.FAILED:
            return None
        wanted, refused = rendition_requests.list_outstanding(tx, uuid)
        published = row["original_key"] if row["status"] == Status.SUCCEEDED else None
        if row["begun"] and not row["held"]:
            tx.rows(_END, uuid=uuid, fence=row["fence"], outcome="lost", reason="the lease ran out")
        if published and not wanted:
            tx.rows(_REST, uuid=uuid, refused=refused)
            return None
        if row["held"]:
            raise Conflict("The image is being processed by another worker", code="image_held")
        attempts = row["attempts"]
        past = tx.rows(_PAST, uuid=uuid, attempts=attempts)[0] if attempts else _NO_PAST
        if past["last"] in _ENDS:  # more was asked for since: that is tried anew
            attempts, past = 0, _NO_PAST
        exhausted = _find_exhaustion(past, attempts, settings)
        claimed = tx.rows(_CLAIM, uuid=uuid, attempt=attempts + 1, lease=settings.lease_seconds)[0]
        tx.rows(_BEGIN, uuid=uuid, fence=claimed["fence"])
        claim = Claim(
            uuid, claimed["fence"], claimed["attempts"], past["abnormal"], wanted, published, database, settings
        )
    if exhausted:
        claim.fail(exhausted)
        return None
    return claim


def _find_exhaustion(past: dict[str, Any], attempts: int, settings: Processing) -> Rejected | None:
    if past["abnormal"] >= settings.max_abnormal_attempts:
        codes = {"crashed": FailureCode.DECODER_CRASHED, "errored": FailureCode.INTERNAL_ERROR}
        code = codes.get(past["last"], FailureCode.WORKER_LOST)
        return Rejected(code, f"Processing broke off abnormally {past['abnormal']} times")
    if attempts >= settings.max_attempts:
        return Rejected(FailureCode.DELIVERY_GIVEN_UP, f"Processing was tried {attempts} times without reaching an end")
    return None
