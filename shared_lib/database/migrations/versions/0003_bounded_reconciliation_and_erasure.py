"""Reconciliation that takes turns and goes on where it stopped, and tombstones that are swept once."""

from alembic import op

revision = "0003"
down_revision = "0002"

UPGRADE = """
-- When a row that has ended or was deleted is looked at again. Each look puts it off, so that one that cannot be
-- handled waits behind all others.
ALTER TABLE images ADD COLUMN retry_at timestamptz;
DROP INDEX images_unannounced;
CREATE INDEX images_unannounced ON images (retry_at NULLS FIRST)
    WHERE deleted_at IS NULL AND status IN ('succeeded', 'failed') AND NOT announced;
DROP INDEX images_deleted;
CREATE INDEX images_unswept ON images (retry_at NULLS FIRST) WHERE deleted_at IS NOT NULL AND swept_at IS NULL;
CREATE INDEX images_swept ON images (swept_at) WHERE swept_at IS NOT NULL;
CREATE INDEX images_awaited ON images (due_at) WHERE deleted_at IS NULL AND status = 'awaiting_upload';

-- What `redrive` walks, in order.
CREATE INDEX images_failed ON images (uuid) WHERE deleted_at IS NULL AND status = 'failed';
CREATE INDEX rendition_orders_refused ON rendition_orders (image_id) WHERE failure_code IS NOT NULL;

-- The last key that a scan of a bucket has dealt with, as UTF-8: a key may hold a NUL, which text may not. The scan of
-- the gallery has a row only while a comparison is under way.
CREATE TABLE scans (
    bucket text PRIMARY KEY,
    position bytea NOT NULL
);

-- A store lists keys in the order of their bytes, and the comparison reads both side by side.
ALTER TABLE images ALTER COLUMN original_key TYPE text COLLATE "C";
ALTER TABLE renditions ALTER COLUMN key TYPE text COLLATE "C";

-- An original that is being removed from the store. Until then nobody names its key.
CREATE TABLE original_removals (
    key text COLLATE "C" PRIMARY KEY,
    ends_at timestamptz NOT NULL
);

-- A deleted image keeps no reason of a failure, and a failed image no original in the gallery.
ALTER TABLE images DROP CONSTRAINT images_check1;
ALTER TABLE images ADD CONSTRAINT images_failure CHECK (
    (status = 'failed') = (failure_code IS NOT NULL) OR deleted_at IS NOT NULL);
UPDATE images SET filename = '', description = NULL, content_type = NULL, size_bytes = NULL, width = NULL,
                  height = NULL, failure_code = NULL, failure_message = NULL, preview = NULL, preview_type = NULL,
                  sha256 = NULL, knowledge = NULL, perceptual_hash = NULL, due_at = NULL,
                  original_key = CASE WHEN swept_at IS NULL THEN original_key END
    WHERE deleted_at IS NOT NULL;
UPDATE images SET original_key = NULL WHERE status = 'failed' AND original_key IS NOT NULL AND deleted_at IS NULL;
DELETE FROM processing_attempts WHERE image_id IN (SELECT uuid FROM images WHERE deleted_at IS NOT NULL);
DELETE FROM dead_letters WHERE image_id IN (SELECT uuid FROM images WHERE deleted_at IS NOT NULL);
CREATE INDEX dead_letters_of_image ON dead_letters (image_id) WHERE image_id IS NOT NULL;
CREATE INDEX dead_letters_received ON dead_letters (received_at);
"""

DOWNGRADE = """
DROP INDEX dead_letters_of_image, dead_letters_received;
UPDATE images SET failure_code = 'upload_missing' WHERE status = 'failed' AND failure_code IS NULL;
ALTER TABLE images DROP CONSTRAINT images_failure;
ALTER TABLE images ADD CONSTRAINT images_check1 CHECK ((status = 'failed') = (failure_code IS NOT NULL));
DROP TABLE original_removals, scans;
ALTER TABLE images ALTER COLUMN original_key TYPE text;
ALTER TABLE renditions ALTER COLUMN key TYPE text;
DROP INDEX rendition_orders_refused, images_failed, images_awaited, images_swept, images_unswept, images_unannounced;
CREATE INDEX images_deleted ON images (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX images_unannounced ON images (completed_at)
    WHERE deleted_at IS NULL AND status IN ('succeeded', 'failed') AND NOT announced;
ALTER TABLE images DROP COLUMN retry_at;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
