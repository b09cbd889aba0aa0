"""Claims: the right of one worker to process an image, and the changes that only its holder may make.

A claim has a lease, so that a dead worker's image comes free, and a fence, so that a worker that outlived its lease
changes nothing.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from shared_lib import metrics
from shared_lib.database.connection import Database, Transaction
from shared_lib.database.driver import Prepared
from shared_lib.domain.images import ImageEnd, ImageStatus
from shared_lib.domain.uploads import Original
from shared_lib.errors import (
    NOT_ITS_OWN_FAULT,
    Conflict,
    Rejected,
    RequestRejected,
    ServiceError,
    Unavailable,
    WorkerCrashed,
    WorkerFailed,
)
from shared_lib.observability import get_logger
from shared_lib.pipeline.recipe import THUMBNAIL, Recipe
from shared_lib.pipeline.recipe_schema import write_metadata
from shared_lib.pipeline.rendition import FailedRecipe, Rendered
from shared_lib.repositories import lifecycle, originals, rendition_requests
from shared_lib.repositories.attempts import END_ATTEMPT, end_attempt, erase_attempt, read_history
from shared_lib.repositories.leases import Lease, LeaseKeeper, Superseded
from shared_lib.repositories.originals import Named
from shared_lib.repositories.rows import to_end
from shared_lib.settings import Processing

log = get_logger()

_LOCK_IMAGE = Prepared("""
    SELECT tenant_id, status, attempts, fence, lease_until > now() AS held, lease_until IS NOT NULL AS begun,
           original_key, deleted_at IS NOT NULL AS deleted, traceparent, requested_by
    FROM images WHERE uuid = :uuid FOR UPDATE
""")
_RELEASE_TRIES = 100  # a third of a lease apart: ten minutes and more
_OUTCOMES: Mapping[type[BaseException], str] = {WorkerCrashed: "crashed", WorkerFailed: "errored"}


class UploadAwaited(Conflict):
    """The image awaits its upload, or has no row. Nobody may claim it before its object was seen in the inbox."""

    def __init__(self, tenant: str | None = None) -> None:
        super().__init__("The image awaits its upload", code="image_awaits_upload")
        self.tenant = tenant
        """Whose image it is. None if it has no row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The sole right to process one image, until it ends, is released, or its lease expires."""

    lease: Lease
    tenant: str
    attempt: int
    is_last: bool
    """If a sandbox worker crashes once more, the image is given up."""
    requested: tuple[Recipe, ...]
    """Renditions that were requested besides the default ones."""
    has_succeeded: bool
    """Only the requested renditions are to be made."""
    original_key: str | None
    """In the gallery. None if the upload is in the inbox."""
    traceparent: str | None
    """The trace of the request that asked for it."""
    requested_by: str | None
    """The API key or the token's subject that asked for it, if any."""
    waited: float
    """Seconds since it was requested."""
    began: float = field(default_factory=time.monotonic)

    @property
    def uuid(self) -> UUID:
        return self.lease.uuid


class Claims:
    def __init__(self, database: Database, settings: Processing) -> None:
        self._database = database
        self._settings = settings
        self._leases = LeaseKeeper(database, settings.lease_seconds)

    @contextmanager
    def hold(self, uuid: UUID, *, arrived: bool = False) -> Iterator[Claim | None]:
        """Hold the sole right to process an image while the block runs, with its lease renewed in the background.

        Yields None if the image has ended or was deleted. Raises Conflict while someone else holds it, and
        UploadAwaited if it awaits its upload, unless the caller has seen that `arrived`. The claim is released if the
        block raises. The lease of a worker that dies expires.
        """
        claim = self._take(uuid, arrived=arrived)
        if claim is None:
            yield None
            return
        self._leases.keep(claim.lease)
        try:
            yield claim
        except Superseded:
            raise
        except BaseException as error:
            self._release_at_last(claim, error)
            raise
        finally:
            self._leases.drop(claim.lease)

    def _take(self, uuid: UUID, *, arrived: bool) -> Claim | None:
        """Claim an image. Return None if it has ended and no renditions are pending, or it was deleted.

        An image that has used up its attempts fails here, before it can do more harm. Raises Conflict while another
        lease runs, so that the event is delivered again: only an end is a success.
        """
        with self._database.transaction() as tx:
            locked = tx.queue(_LOCK_IMAGE, uuid=uuid)
            requested, some_failed = rendition_requests.list_pending(tx, uuid)  # as they are once it is locked
            if not locked:
                raise UploadAwaited
            row = locked[0]
            if row["deleted"] or row["status"] == ImageStatus.FAILED:
                return None
            if row["status"] == ImageStatus.AWAITING_UPLOAD and not arrived:
                raise UploadAwaited(row["tenant_id"])
            has_succeeded = row["status"] == ImageStatus.SUCCEEDED
            if row["begun"] and not row["held"]:
                end_attempt(tx, uuid, row["fence"], "lost", "the lease ran out")
            if has_succeeded and not requested:
                tx.rows(lifecycle.SETTLE_SUCCEEDED, uuid=uuid, failed=some_failed)
                return None
            if row["held"]:
                raise Conflict("The image is being processed by another worker", code="image_held")
            history = read_history(tx, uuid, row["attempts"])
            claimed = tx.last(
                lifecycle.CLAIM_IMAGE, uuid=uuid, attempt=history.attempts + 1, lease=self._settings.lease_seconds
            )[0]
        claim = Claim(
            lease=Lease(uuid, claimed["fence"]),
            tenant=row["tenant_id"],
            attempt=claimed["attempts"],
            is_last=history.abnormal + 1 >= self._settings.max_abnormal_attempts,
            requested=requested,
            has_succeeded=has_succeeded,
            original_key=row["original_key"],
            traceparent=row["traceparent"],
            requested_by=row["requested_by"],
            waited=claimed["waited"],
        )
        if exhausted := history.find_exhaustion(self._settings):
            self.fail(claim, exhausted)
            return None
        return claim

    def name_original(self, claim: Claim, original: Original) -> Named:
        """Record where an upload's original will be stored: from now on nobody deletes an object there.

        Raises Superseded if the claim was lost, and BeingRemoved while an equal original is being deleted.
        """
        columns = {"uuid": claim.uuid, "fence": claim.lease.fence, "sha256": original.sha256, "size": original.size}
        named = originals.name(self._database, original.key, lifecycle.NAME_ORIGINAL, **columns)
        if named is None:
            raise Superseded
        return Named(**named)

    def succeed(self, claim: Claim, rendered: Rendered, keys: Mapping[str, str]) -> ImageEnd:
        """Publish renditions by one conditional update. `keys` has the key of each stored one by its name.

        Raises Superseded if the claim was lost. The caller then has to delete what it stored.
        """
        new = not claim.has_succeeded
        with self._database.transaction() as tx:
            row = _end(tx, claim, lifecycle.PUBLISH_IMAGE, "succeeded", None, **_describe(rendered))
            rendition_requests.fail(tx, claim.uuid, rendered.failed, unrequested=new)
            renditions = rendition_requests.fulfill(tx, claim.uuid, rendered.renditions, keys, unrequested=new)
        failed = {each.recipe.name: each.reason.code for each in rendered.failed}
        event = "image_succeeded" if new else "renditions_made"
        _note_end(claim, "succeeded", log.info, event, renditions=len(rendered.renditions), failed=failed)
        return to_end(row, renditions)

    def fail(self, claim: Claim, reason: Rejected, *, keep_original: bool = True) -> ImageEnd:
        """Fail the image for a reason that no retry changes, or only the requested renditions if it has succeeded.

        With `keep_original` the row goes on naming an original that it named before the attempt. Raises Superseded if
        the claim was lost.
        """
        with self._database.transaction() as tx:
            if claim.has_succeeded:
                row = _end(tx, claim, lifecycle.END_SUCCEEDED_CLAIM, "failed", reason.code)
                failed = [FailedRecipe(recipe, reason) for recipe in claim.requested]
                rendition_requests.fail(tx, claim.uuid, failed, unrequested=False)
            else:
                keep = keep_original and claim.original_key is not None
                columns = {"code": reason.code, "message": reason.public, "keep": keep}
                row = _end(tx, claim, lifecycle.FAIL_CLAIMED_IMAGE, "failed", reason.code, **columns)
        write = log.warning if reason.failure in NOT_ITS_OWN_FAULT else log.info
        event = "renditions_failed" if claim.has_succeeded else "image_failed"
        _note_end(claim, "failed", write, event, code=reason.code, reason=reason.public)
        return to_end(row, row["renditions"] or ())

    def withdraw(self, claim: Claim) -> None:
        """Take back the claim and its attempt: there was nothing to work on, or nothing to work with."""
        with self._database.transaction() as tx:
            self._release(tx, claim, counted=False)
            erase_attempt(tx, claim.uuid, claim.lease.fence)

    def release(self, claim: Claim, error: BaseException) -> None:
        """Release an image whose attempt broke off, so that the next delivery may try at once.

        An attempt that an outage broke off does not count. However long the outage lasts, it fails no image.
        """
        outage = isinstance(error, Unavailable) and not isinstance(error, RequestRejected)
        if outage:
            self.withdraw(claim)
        else:
            outcome = _OUTCOMES.get(type(error), "released")
            reason = error.public if isinstance(error, ServiceError) else type(error).__name__
            with self._database.transaction() as tx:
                end_attempt(tx, claim.uuid, claim.lease.fence, outcome, reason)
                self._release(tx, claim, counted=True)
        _note_end(claim, "broke_off", log.warning, "attempt_broke_off", error=type(error).__name__, counted=not outage)

    def _release(self, tx: Transaction, claim: Claim, *, counted: bool) -> None:
        wait = self._settings.pending_grace_seconds
        tx.rows(lifecycle.RELEASE_CLAIM, uuid=claim.uuid, fence=claim.lease.fence, counted=counted, wait=wait)

    def _release_at_last(self, claim: Claim, error: BaseException) -> None:
        """Release now, or as soon as the database is back: an expired lease would look like a dead worker's."""
        try:
            self.release(claim, error)
        except Unavailable:
            threading.Thread(target=self._release_later, args=(claim, error), daemon=True, name="release").start()

    def _release_later(self, claim: Claim, error: BaseException) -> None:
        for _ in range(_RELEASE_TRIES):
            time.sleep(self._settings.lease_seconds / 3)
            with suppress(Unavailable):
                self.release(claim, error)
                return


def _end(
    tx: Transaction, claim: Claim, sql: str, outcome: str, reason: str | None, **columns: object
) -> dict[str, Any]:
    """End the claim and its attempt. Return the image's row. Raises Superseded if the claim was lost."""
    statement = Prepared(lifecycle.announcing(sql, f"attempt AS ({END_ATTEMPT})"))
    row = tx.row(statement, uuid=claim.uuid, fence=claim.lease.fence, outcome=outcome, reason=reason, **columns)
    if row is None:
        raise Superseded
    return row


def _describe(rendered: Rendered) -> dict[str, Any]:
    thumbnail = next((each for each in rendered.renditions if each.name == THUMBNAIL.name), None)
    metadata = rendered.metadata
    return {
        "content_type": rendered.format.content_type,
        "width": rendered.width,
        "height": rendered.height,
        "metadata": metadata and write_metadata(metadata),
        "perceptual_hash": f"x{metadata.perceptual_hash}" if metadata and metadata.perceptual_hash else None,
        "thumbnail": thumbnail and thumbnail.data,
        "thumbnail_type": thumbnail and thumbnail.content_type,
    }


def _note_end(claim: Claim, outcome: str, write: Callable[..., None], event: str, **fields: object) -> None:
    seconds = time.monotonic() - claim.began
    metrics.ATTEMPTS.observe(seconds, metrics.AttemptEnd(outcome))
    write(event, image=str(claim.uuid), attempts=claim.attempt, ms=round(seconds * 1000), **fields)
