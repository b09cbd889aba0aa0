"""Write images: the changes that need no claim."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from shared_lib import tracing
from shared_lib.database.connection import Database, Transaction, acting_for
from shared_lib.database.driver import Rows
from shared_lib.domain.audit import Action
from shared_lib.domain.images import ImageEnd, ImageNotFound, ImageStatus
from shared_lib.domain.uploads import Original, StoredObject
from shared_lib.errors import FailureCode
from shared_lib.observability import get_logger
from shared_lib.repositories import audit, lifecycle, multipart, originals, privacy, rendition_requests, stocks
from shared_lib.repositories.originals import Named
from shared_lib.repositories.rows import LOCK_IMAGE
from shared_lib.settings import NO_QUOTAS, Processing, Quotas

if TYPE_CHECKING:
    from shared_lib.pipeline.recipe import Recipe

log = get_logger()

_ERASE_RELATED = (
    "DELETE FROM renditions WHERE image_id = ANY(CAST(:uuids AS uuid[]))",
    "DELETE FROM rendition_requests WHERE image_id = ANY(CAST(:uuids AS uuid[]))",
    # The others may still be writing an object.
    "DELETE FROM deliveries WHERE image_id = ANY(CAST(:uuids AS uuid[])) AND claim IS NULL",
    "DELETE FROM processing_attempts WHERE image_id = ANY(CAST(:uuids AS uuid[]))",
    "DELETE FROM dead_letters WHERE image_id = ANY(CAST(:uuids AS uuid[]))",
    "DELETE FROM outbox WHERE image_id = ANY(CAST(:uuids AS uuid[]))",
    "DELETE FROM watermarks WHERE image_id = ANY(CAST(:uuids AS uuid[]))",
    "DELETE FROM foreign_images WHERE tenant_id = :tenant AND image_id = ANY(CAST(:uuids AS uuid[]))",
)


class Images:
    def __init__(self, database: Database, settings: Processing, quotas: Quotas = NO_QUOTAS) -> None:
        self._database = database
        self._settings = settings
        self._quotas = quotas

    @property
    def tenant(self) -> str:
        """Whose images are made now. Raises LookupError outside any tenant."""
        if self._database.tenant is None:
            raise LookupError("nobody acts for a tenant")
        return self._database.tenant

    def create(  # noqa: PLR0913  an image's columns
        self,
        uuid: UUID,
        filename: str,
        description: str | None,
        size: int,
        recipes: Sequence["Recipe"] = (),
        *,
        hidden: bool = False,
        quotas: Quotas | None = None,
    ) -> None:
        """Insert an image whose object is in the inbox, or, if it is `hidden`, about to be put there.

        Changes nothing if there is a row. Raises Forbidden if a quota is used up, as do `create_with_original` and
        `reserve`.
        """
        self._insert(
            recipes,
            quotas or self._quotas,
            uuid=uuid,
            filename=filename,
            description=description,
            status=(ImageStatus.AWAITING_UPLOAD if hidden else ImageStatus.PENDING).value,
            size=size,
            reserved=None,
            wait=self._settings.pending_grace_seconds,
        )

    def create_with_original(
        self, uuid: UUID, filename: str, description: str | None, original: Original, recipes: Sequence["Recipe"] = ()
    ) -> Named | None:
        """Insert a hidden image whose original is about to be put into the gallery. Nobody deletes it there any more.

        Return None, and insert nothing, if an equal original is being deleted.
        """
        with self._database.transaction(durable=False) as tx:  # the confirmation makes it durable
            originals.lock(tx, original.key)
            stocks.lock(tx, self._quotas)
            rows = self._choose(tx, recipes, self._quotas)(
                lifecycle.INSERT_ORIGINAL,
                uuid=uuid,
                filename=filename,
                description=description,
                status=ImageStatus.AWAITING_UPLOAD.value,
                size=original.size,
                wait=self._settings.pending_grace_seconds,
                key=original.key,
                sha256=original.sha256,
                trace=tracing.current(),
                by=audit.current_caller(),
            )
            if not rows:
                return None
            rendition_requests.add(tx, uuid, recipes)
            stocks.check(tx, self._quotas)
        return Named(**rows[0])

    def confirm_upload(self, uuid: UUID) -> bool:
        """Show an image that was created hidden, and is stored. Return False if it is gone."""
        with self._database.transaction() as tx:
            rows = tx.last(lifecycle.CONFIRM_UPLOAD, uuid=uuid, wait=self._settings.pending_grace_seconds)
        return bool(rows[0]["confirmed"])

    def reserve(
        self, uuid: UUID, filename: str, description: str | None = None, *, reserved: int | None = None
    ) -> None:
        """Insert an image before its upload URL is given out. It stays hidden until its object is in the inbox.

        Until its size is known, it counts as `reserved` bytes.
        """
        self._insert(
            (),
            self._quotas,
            uuid=uuid,
            filename=filename,
            description=description,
            status=ImageStatus.AWAITING_UPLOAD.value,
            size=None,
            reserved=reserved,
            wait=self._settings.upload_url_seconds,
        )

    def adopt(self, found: StoredObject) -> None:
        """Insert an image for an object in the inbox. Changes nothing if there is a row, even a deleted one.

        It is the tenant's that its key names. It is there, so no quota refuses it.
        """
        with acting_for(found.tenant):
            self.create(found.image, found.filename, None, found.size, quotas=NO_QUOTAS)

    def _insert(self, recipes: Sequence["Recipe"], quotas: Quotas, *, uuid: UUID, **columns: object) -> None:
        with self._database.transaction() as tx:
            stocks.lock(tx, quotas)
            insert = self._choose(tx, recipes, quotas)
            if insert(lifecycle.INSERT_IMAGE, uuid=uuid, trace=tracing.current(), by=audit.current_caller(), **columns):
                rendition_requests.add(tx, uuid, recipes)
                stocks.check(tx, quotas)

    @staticmethod
    def _choose(tx: Transaction, recipes: Sequence["Recipe"], quotas: Quotas) -> Callable[..., Rows]:
        """Return the method that runs the insertion: with the commit in one message, if nothing else follows."""
        return tx.rows if recipes or quotas != NO_QUOTAS else tx.last

    def forget(self, uuid: UUID) -> None:
        """Remove the row of an adopted object that was gone before it could be moved to its key."""
        with self._database.transaction() as tx:
            tx.rows(lifecycle.FORGET_ADOPTED_IMAGE, uuid=uuid)

    def mark_arrived(self, uuids: Iterable[UUID]) -> None:
        """Make images pending whose awaited upload is in the inbox."""
        with self._database.transaction() as tx:
            tx.rows(lifecycle.MARK_ARRIVED, uuids=list(uuids))

    def request(
        self,
        uuid: UUID,
        filename: str | None,
        description: str | None,
        recipes: Sequence["Recipe"] = (),
        *,
        describe: bool,
    ) -> bool:
        """Name an image, request renditions, and make it pending if it awaited its upload or had failed.

        The description is changed only with `describe`. Return whether the image now waits for a worker. Raises
        Conflict if it would have too many renditions, and Forbidden if its tenant would.
        """
        with self._database.transaction() as tx:
            if recipes:
                stocks.lock(tx, self._quotas)
            if tx.row(LOCK_IMAGE, uuid=uuid) is None:
                return False
            renditions_pending = rendition_requests.add(tx, uuid, recipes)
            if renditions_pending:
                stocks.check_renditions(tx, self._quotas)
            row = tx.row(
                lifecycle.REQUEST_PROCESSING,
                uuid=uuid,
                filename=filename,
                description=description,
                describe=describe,
                renditions_pending=renditions_pending,
                trace=tracing.current(),
                by=audit.current_caller(),
                wait=self._settings.pending_grace_seconds,
            )
        return renditions_pending or (row is not None and row["status"] == ImageStatus.PENDING)

    def update(self, uuid: UUID, changes: Mapping[str, str | None]) -> None:
        """Change the fields in `changes` (`filename`, `description`) and no others. Raises NotFound."""
        with self._database.transaction() as tx:
            row = tx.row(
                lifecycle.DESCRIBE_IMAGE,
                uuid=uuid,
                filename=changes.get("filename"),
                describe="description" in changes,
                description=changes.get("description"),
            )
        if row is None:
            raise ImageNotFound

    def delete(self, uuid: UUID) -> None:
        """Hide an image from every caller, also while it awaits its upload, and erase all that is known of it.

        Raises NotFound.
        """
        if not self.delete_all([uuid]):
            raise ImageNotFound

    def delete_awaited(self, uuid: UUID) -> bool:
        """Delete an image in the same way if it still awaits its upload. Return whether it did. Raises NotFound."""
        with self._database.transaction() as tx:
            row = tx.row(LOCK_IMAGE, uuid=uuid)
            if row is None:
                raise ImageNotFound
            return row["status"] == ImageStatus.AWAITING_UPLOAD and bool(delete(tx, [uuid]))

    def delete_all(self, uuids: Sequence[UUID]) -> set[UUID]:
        """Delete these images in the same way. Return those that there were."""
        with self._database.transaction() as tx:
            return delete(tx, uuids)

    def erase(self, uuid: UUID, by: str) -> UUID:
        """Delete an image in the same way, and write down what there was. Return the receipt's ID. Raises NotFound."""
        with self._database.transaction() as tx:
            if tx.row(LOCK_IMAGE, uuid=uuid) is None:
                raise ImageNotFound
            receipt = privacy.begin_erasure(tx, uuid, privacy.read_holdings(tx, uuid), by)
            delete(tx, [uuid])
        return receipt

    def mark_cleaned_up(self, uuid: UUID) -> None:
        """Record that a deleted image's objects are gone, unless someone may still be writing one."""
        with self._database.transaction() as tx:
            tx.rows(multipart.FORGET, uuid=uuid)
            tx.rows(lifecycle.MARK_CLEANED_UP, uuid=uuid, writing=originals.REQUEST_SECONDS)
            privacy.complete_erasure(tx, uuid)

    def give_up(self, uuid: UUID, code: FailureCode, message: str) -> bool:
        """Fail an image that has not ended and that nobody is working on. Return whether it was failed."""
        with self._database.transaction() as tx:
            row = tx.row(lifecycle.FAIL_UNCLAIMED_IMAGE, uuid=uuid, code=code.value, message=message)
        if row:
            log.warning("image_failed", image=str(uuid), code=code.value, reason=message)
        return row is not None

    def mark_announced(self, end: ImageEnd) -> None:
        """Take the end out of the outbox: its event was published. A later end is still to be announced."""
        with self._database.transaction(durable=False) as tx:  # if that is lost, it is announced twice
            tx.last(lifecycle.MARK_ANNOUNCED, uuid=end.uuid, ended=end.completed_at)


def delete(tx: Transaction, uuids: Sequence[UUID]) -> set[UUID]:
    """Delete these images in this transaction. Return those that there were."""
    deleted = [row["uuid"] for row in tx.rows(lifecycle.DELETE_IMAGES, uuids=list(uuids))]
    for statement in _ERASE_RELATED if deleted else ():
        tx.queue(statement, uuids=deleted)
    for uuid in deleted:
        audit.record(tx, Action.IMAGE_DELETED, f"{uuid}")
    return set(deleted)
