"""Renditions that show another image as a watermark: when that one is erased, they go with it."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from shared_lib.database.connection import Database
from shared_lib.repositories.rows import OF_TENANT

_NOTE = """
    INSERT INTO watermarks (tenant_id, overlay_id, image_id, recipe_hash)
    SELECT i.tenant_id, overlay, i.uuid, :recipe FROM images i, unnest(CAST(:overlays AS uuid[])) AS overlay
    WHERE i.uuid = :uuid ORDER BY overlay ON CONFLICT DO NOTHING
"""
OBJECTS = """
    SELECT r.key, r.size_bytes FROM watermarks w JOIN renditions r USING (image_id, recipe_hash)
    WHERE w.tenant_id = :tenant AND w.overlay_id = :uuid AND r.key IS NOT NULL
    UNION SELECT d.key, d.size_bytes FROM watermarks w JOIN deliveries d USING (image_id, recipe_hash)
    WHERE w.tenant_id = :tenant AND w.overlay_id = :uuid AND d.key IS NOT NULL
"""
_LIST = f"""
    SELECT w.image_id AS image, w.recipe_hash, array_remove(array_agg(DISTINCT made.key), NULL) AS keys
    FROM watermarks w LEFT JOIN LATERAL (
        SELECT key FROM renditions r WHERE r.image_id = w.image_id AND r.recipe_hash = w.recipe_hash
        UNION ALL
        SELECT key FROM deliveries d WHERE d.image_id = w.image_id AND d.recipe_hash = w.recipe_hash) made ON true
    WHERE w.overlay_id = :uuid AND {OF_TENANT.replace("tenant_id", "w.tenant_id")} GROUP BY 1, 2
"""
_DELETE = (
    "DELETE FROM renditions WHERE image_id = :image AND recipe_hash = :recipe_hash",
    # A process that still makes one finds no row when it is done, and deletes the object.
    "DELETE FROM deliveries WHERE image_id = :image AND recipe_hash = :recipe_hash",
)
_FORGET = f"""
    DELETE FROM watermarks
    WHERE overlay_id = :uuid AND image_id = :image AND recipe_hash = :recipe_hash AND {OF_TENANT}
    AND NOT EXISTS (SELECT FROM images WHERE uuid = :image AND lease_until > now()) -- it may be laid on it once more
"""

MAY_BE_LAID = """
    SELECT FROM watermarks w JOIN images host ON host.uuid = w.image_id
    WHERE w.overlay_id = :uuid AND host.lease_until > now()
"""
"""True if a worker may be about to publish a rendition that shows the image."""


class Watermarked(NamedTuple):
    image: UUID
    recipe_hash: str
    keys: Sequence[str]


class Watermarks:
    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, uuid: UUID, recipe_hash: str, overlays: Sequence[UUID]) -> None:
        """Record what a rendition of an image will show, before that is read."""
        with self._database.transaction() as tx:
            tx.rows(_NOTE, uuid=uuid, recipe=recipe_hash, overlays=list(overlays))

    def list(self, uuid: UUID) -> list[Watermarked]:
        """Return the renditions that show an image."""
        with self._database.transaction() as tx:
            return [Watermarked(**row) for row in tx.rows(_LIST, uuid=uuid)]

    def forget(self, uuid: UUID, shown: Watermarked) -> None:
        """Delete a rendition's rows, whose objects are gone. Caches forget it."""
        with self._database.transaction() as tx:
            for statement in _DELETE:
                tx.queue(statement, image=shown.image, recipe_hash=shown.recipe_hash)
            tx.rows(_FORGET, uuid=uuid, image=shown.image, recipe_hash=shown.recipe_hash)
