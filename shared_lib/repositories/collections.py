"""Collections. Their rules hold under any concurrency, because the database decides."""

from collections.abc import Sequence
from uuid import UUID

from shared_lib.database.connection import Database, Transaction
from shared_lib.database.failures import STILL_REFERENCED, ConstraintViolated
from shared_lib.domain.audit import Action
from shared_lib.domain.images import Collection, CollectionNotEmpty, CollectionNotFound, Image, ImageNotFound
from shared_lib.domain.pages import Page, PageQuery
from shared_lib.repositories import audit
from shared_lib.repositories.pages import Listed, make_page, read_page, slice_page
from shared_lib.repositories.rows import COLLECTION_COLUMNS, VISIBLE_IMAGE, to_collection, to_image

_SELECT_COLLECTION = f"SELECT {COLLECTION_COLUMNS} FROM collections c WHERE c.tenant_id = :tenant AND c.uuid = :uuid"
_SELECT_COLLECTIONS = f"""
    SELECT {COLLECTION_COLUMNS} FROM collections c WHERE c.tenant_id = :tenant AND c.uuid = ANY(CAST(:uuids AS uuid[]))
"""
_LIST_COLLECTIONS = "SELECT uuid, created_at, updated_at, name FROM collections WHERE tenant_id = :tenant"
_COUNT_COLLECTIONS = "SELECT count(*) AS total FROM collections WHERE tenant_id = :tenant"
_INSERT_COLLECTION = f"""
    INSERT INTO collections AS c (uuid, tenant_id, name, description) VALUES (:uuid, :tenant, :name, :description)
    RETURNING {COLLECTION_COLUMNS}
"""
_UPDATE_COLLECTION = f"""
    UPDATE collections c SET name = CASE WHEN :rename THEN :name ELSE name END,
                             description = CASE WHEN :describe THEN :description ELSE description END,
                             updated_at = now()
    WHERE c.tenant_id = :tenant AND c.uuid = :uuid RETURNING {COLLECTION_COLUMNS}
"""
_DELETE_COLLECTION = "DELETE FROM collections WHERE tenant_id = :tenant AND uuid = :uuid RETURNING uuid"
_DELETE_COUNTS = "DELETE FROM image_counts WHERE tenant_id = :tenant AND collection_id = :uuid"
# Locks the row, so that adding to a collection and deleting it wait for each other.
_TOUCH_COLLECTION = """
    UPDATE collections SET updated_at = now() WHERE tenant_id = :tenant AND uuid = :uuid RETURNING uuid
"""
# In the order of the uuids, so that two requests that move the same images cannot deadlock.
_LOCK_IMAGES = f"""
    SELECT i.uuid FROM images i WHERE i.uuid = ANY(CAST(:images AS uuid[])) AND {VISIBLE_IMAGE}
    ORDER BY i.uuid FOR NO KEY UPDATE
"""
_MOVE_IMAGES = """
    UPDATE images SET collection_id = :uuid WHERE tenant_id = :tenant AND uuid = ANY(CAST(:images AS uuid[]))
"""
_REMOVE_IMAGES = """
    UPDATE images SET collection_id = NULL
    WHERE tenant_id = :tenant AND uuid = ANY(CAST(:images AS uuid[])) AND collection_id = :uuid
"""


class Collections:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, uuid: UUID, name: str, description: str | None) -> Collection:
        with self._database.transaction() as tx:
            return to_collection(tx.rows(_INSERT_COLLECTION, uuid=uuid, name=name, description=description)[0])

    def show(self, uuid: UUID, query: PageQuery) -> tuple[Collection, Page[Image]]:
        """Return a collection and a page of its images that match. Raises NotFound."""
        with self._database.transaction(snapshot=True) as tx:
            collection = to_collection(_require(tx.row(_SELECT_COLLECTION, uuid=uuid)))
            page = read_page(tx, query, uuid)
        return collection, page.map(to_image)

    def page(self, query: PageQuery) -> Page[Collection]:
        """Return one page of the collections whose name matches."""
        with self._database.transaction(snapshot=True) as tx:
            size = tx.rows(_COUNT_COLLECTIONS)[0]["total"]
            listed = Listed("collections", _LIST_COLLECTIONS, size, "name ILIKE :search")
            found = slice_page(tx, query, listed)
            rows = tx.rows(_SELECT_COLLECTIONS, uuids=found.uuids)
        return make_page(found, query, rows).map(to_collection)

    def update(self, uuid: UUID, changes: dict[str, str | None]) -> Collection:
        """Change the fields in `changes` (`name`, `description`) and no others. Raises NotFound."""
        with self._database.transaction() as tx:
            row = tx.row(
                _UPDATE_COLLECTION,
                uuid=uuid,
                rename="name" in changes,
                name=changes.get("name"),
                describe="description" in changes,
                description=changes.get("description"),
            )
            return to_collection(_require(row))

    def delete(self, uuid: UUID) -> None:
        """Delete an empty collection. Raises NotFound, and Conflict if it has images."""
        try:
            with self._database.transaction() as tx:
                _require(tx.row(_DELETE_COLLECTION, uuid=uuid))
                tx.rows(_DELETE_COUNTS, uuid=uuid)
                audit.record(tx, Action.COLLECTION_DELETED, f"{uuid}")
        except ConstraintViolated as error:
            if error.sqlstate not in STILL_REFERENCED:
                raise
            raise CollectionNotEmpty from error

    def add_images(self, uuid: UUID, images: Sequence[UUID]) -> None:
        """Move images into the collection: all of them or none. Raises NotFound."""
        with self._database.transaction() as tx:
            _require(tx.row(_TOUCH_COLLECTION, uuid=uuid))
            missing = set(images) - _lock_images(tx, images)
            if missing:
                raise ImageNotFound(
                    details=[{"message": f"There is no image {image}"} for image in sorted(map(str, missing))],
                )
            tx.rows(_MOVE_IMAGES, uuid=uuid, images=list(images))

    def move_images(self, images: Sequence[UUID], collection: UUID | None) -> set[UUID]:
        """Move those of the images that there are into a collection, or out of any. Return them. Raises NotFound."""
        with self._database.transaction() as tx:
            if collection:
                _require(tx.row(_TOUCH_COLLECTION, uuid=collection))
            found = _lock_images(tx, images)
            tx.rows(_MOVE_IMAGES, uuid=collection, images=list(found))
        return found

    def remove_images(self, uuid: UUID, images: Sequence[UUID]) -> None:
        """Take images out of this collection. Images that are not in it stay where they are. Raises NotFound."""
        with self._database.transaction() as tx:
            _require(tx.row(_TOUCH_COLLECTION, uuid=uuid))
            _lock_images(tx, images)
            tx.rows(_REMOVE_IMAGES, uuid=uuid, images=list(images))


def _require(row: dict[str, object] | None) -> dict[str, object]:
    if row is None:
        raise CollectionNotFound
    return row


def _lock_images(tx: Transaction, images: Sequence[UUID]) -> set[UUID]:
    return {row["uuid"] for row in tx.rows(_LOCK_IMAGES, images=list(images))}
