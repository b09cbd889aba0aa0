"""Collections in and out of the database. Their rules hold under any concurrency: the database decides."""

from collections.abc import Sequence
from uuid import UUID

from shared_lib.database.connection import STILL_REFERENCED, ConstraintViolated, Database, Transaction
from shared_lib.domain.images import Collection, Image, Page, PageQuery
from shared_lib.errors import Conflict, NotFound
from shared_lib.repositories.pages import begin_snapshot, cut_out, read_page, search
from shared_lib.repositories.rows import COLLECTION_COLUMNS, VISIBLE_IMAGE, to_collection, to_image

_ONE = f"SELECT {COLLECTION_COLUMNS} FROM collections c WHERE c.uuid = :uuid"
_EVERY = "SELECT uuid, created_at, updated_at FROM collections"
_SHOW = f"SELECT {COLLECTION_COLUMNS} FROM collections c WHERE c.uuid = ANY(CAST(:uuids AS uuid[]))"
_INSERT = f"""
    INSERT INTO collections AS c (uuid, name, description) VALUES (:uuid, :name, :description)
    RETURNING {COLLECTION_COLUMNS}
"""
_UPDATE = f"""
    UPDATE collections c SET name = CASE WHEN :rename THEN :name ELSE name END,
                             description = CASE WHEN :describe THEN :description ELSE description END,
                             updated_at = now()
    WHERE c.uuid = :uuid RETURNING {COLLECTION_COLUMNS}
"""
# Taking the row's lock here makes adding to a collection and deleting it wait for each other.
_TOUCH = "UPDATE collections SET updated_at = now() WHERE uuid = :uuid RETURNING uuid"
# In the order of the uuids, so that two requests that move the same images cannot deadlock.
_LOCK_IMAGES = f"""
    SELECT i.uuid FROM images i WHERE i.uuid = ANY(CAST(:images AS uuid[])) AND {VISIBLE_IMAGE}
    ORDER BY i.uuid FOR NO KEY UPDATE
"""


class Collections:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, uuid: UUID, name: str, description: str | None) -> Collection:
        with self._database.transaction() as tx:
            return to_collection(tx.rows(_INSERT, uuid=uuid, name=name, description=description)[0])

    def show(self, uuid: UUID, query: PageQuery) -> tuple[Collection, Page[Image]]:
        """Return a collection and a page of its images that match. Raises NotFound."""
        with self._database.transaction() as tx:
            begin_snapshot(tx)
            collection = to_collection(_found(tx.row(_ONE, uuid=uuid)))
            rows, total = read_page(tx, query, uuid)
        return collection, Page([to_image(row) for row in rows], total)

    def page(self, query: PageQuery) -> Page[Collection]:
        """Return one page of the collections whose name matches."""
        with self._database.transaction() as tx:
            begin_snapshot(tx)
            if query.search:
                uuids, total = search(tx, [f"{_EVERY} WHERE name ILIKE :search"], query)
            else:
                total = tx.rows("SELECT count(*) AS total FROM collections")[0]["total"]
                uuids = cut_out(tx, _EVERY, query, total)
            rows = tx.rows(_SHOW, uuids=uuids)
        return Page([to_collection(row) for row in sorted(rows, key=lambda row: uuids.index(row["uuid"]))], total)

    def update(self, uuid: UUID, changes: dict[str, str | None]) -> Collection:
        """Change what `changes` names (`name`, `description`) and nothing else. Raises NotFound."""
        with self._database.transaction() as tx:
            row = tx.row(
                _UPDATE,
                uuid=uuid,
                rename="name" in changes,
                name=changes.get("name"),
                describe="description" in changes,
                description=changes.get("description"),
            )
            return to_collection(_found(row))

    def delete(self, uuid: UUID) -> None:
        """Raises NotFound, and Conflict unless the collection is empty."""
        try:
            with self._database.transaction() as tx:
                _found(tx.row("DELETE FROM collections WHERE uuid = :uuid RETURNING uuid", uuid=uuid))
                tx.rows("DELETE FROM image_counts WHERE collection_id = :uuid", uuid=uuid)
        except ConstraintViolated as error:
            if error.sqlstate not in STILL_REFERENCED:
                raise
            raise Conflict(
                "Cannot delete non-empty collection",
                code="collection_not_empty",
                details=[{"message": "Remove all images from the collection before deleting it"}],
            ) from error

    def add_images(self, uuid: UUID, images: Sequence[UUID]) -> None:
        """Move images into the collection: all of them, or, raising NotFound, none."""
        with self._database.transaction() as tx:
            _found(tx.row(_TOUCH, uuid=uuid))
            missing = set(images) - _lock_images(tx, images)
            if missing:
                raise NotFound(
                    "Image not found",
                    code="image_not_found",
                    details=[{"message": f"There is no image {image}"} for image in sorted(map(str, missing))],
                )
            tx.rows(
                "UPDATE images SET collection_id = :uuid WHERE uuid = ANY(CAST(:images AS uuid[]))",
                uuid=uuid,
                images=list(images),
            )

    def remove_images(self, uuid: UUID, images: Sequence[UUID]) -> None:
        """Take images out of this collection; those that are not in it stay where they are. Raises NotFound."""
        with self._database.transaction() as tx:
            _found(tx.row(_TOUCH, uuid=uuid))
            _lock_images(tx, images)
            tx.rows(
                """UPDATE images SET collection_id = NULL
                   WHERE uuid = ANY(CAST(:images AS uuid[])) AND collection_id = :uuid""",
                uuid=uuid,
                images=list(images),
            )


def _found(row: dict[str, object] | None) -> dict[str, object]:
    if row is None:
        raise NotFound("Collection not found", code="collection_not_found")
    return row


def _lock_images(tx: Transaction, images: Sequence[UUID]) -> set[UUID]:
    return {row["uuid"] for row in tx.rows(_LOCK_IMAGES, images=list(images))}
