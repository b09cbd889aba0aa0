"""Renditions by recipe, what is learnt of an image, and originals that equal images share."""

from alembic import op

revision = "0002"
down_revision = "0001"

UPGRADE = """
-- A rendition that was asked for and is not made; when it has a failure, it cannot be.
CREATE TABLE rendition_orders (
    image_id uuid NOT NULL REFERENCES images (uuid) ON DELETE CASCADE,
    name text NOT NULL,
    recipe_hash text NOT NULL,
    recipe jsonb NOT NULL,
    failure_code text,
    failure_message text,
    PRIMARY KEY (image_id, name),
    CHECK ((failure_code IS NULL) = (failure_message IS NULL))
);

-- Two names for one recipe share an object, and equal images their original.
ALTER TABLE renditions DROP CONSTRAINT renditions_key_key;
CREATE INDEX renditions_of_key ON renditions (key);
ALTER TABLE images ADD COLUMN sha256 text;
CREATE INDEX images_by_original ON images (original_key) WHERE deleted_at IS NULL AND original_key IS NOT NULL;

-- A succeeded image stays so while further renditions of it are made.
ALTER TABLE images DROP CONSTRAINT images_check2;
ALTER TABLE images ADD CONSTRAINT images_lease CHECK (
    (status = 'processing') = (lease_until IS NOT NULL) OR status = 'succeeded' OR deleted_at IS NOT NULL);
DROP INDEX images_unfinished;
CREATE INDEX images_unfinished ON images (due_at)
    WHERE deleted_at IS NULL AND (due_at IS NOT NULL OR lease_until IS NOT NULL);

-- What was learnt of the picture itself; NULL for one that was processed before this was asked.
ALTER TABLE images ADD COLUMN knowledge jsonb, ADD COLUMN perceptual_hash bit(64);
-- Four numbered quarters of the hash: of two hashes that differ in at most 4n + 3 bits, one quarter differs in at most
-- n (Norouzi, Punjani, Fleet: Fast Search in Hamming Space with Multi-Index Hashing, 2012).
ALTER TABLE images ADD COLUMN perceptual_quarters integer[] GENERATED ALWAYS AS (ARRAY[
    substring(perceptual_hash FROM 1 FOR 16)::integer,
    substring(perceptual_hash FROM 17 FOR 16)::integer + 65536,
    substring(perceptual_hash FROM 33 FOR 16)::integer + 131072,
    substring(perceptual_hash FROM 49 FOR 16)::integer + 196608]) STORED;
CREATE INDEX images_alike ON images USING gin (perceptual_quarters)
    WHERE deleted_at IS NULL AND perceptual_hash IS NOT NULL;
"""

DOWNGRADE = """
DROP INDEX images_alike;
ALTER TABLE images DROP COLUMN perceptual_quarters, DROP COLUMN perceptual_hash, DROP COLUMN knowledge;
DROP INDEX images_unfinished;
ALTER TABLE images DROP CONSTRAINT images_lease;
UPDATE images SET lease_until = NULL WHERE status = 'succeeded' AND deleted_at IS NULL;
ALTER TABLE images ADD CONSTRAINT images_check2
    CHECK ((status = 'processing') = (lease_until IS NOT NULL) OR deleted_at IS NOT NULL);
CREATE INDEX images_unfinished ON images (due_at)
    WHERE deleted_at IS NULL AND status IN ('awaiting_upload', 'pending', 'processing');
DROP INDEX images_by_original;
ALTER TABLE images DROP COLUMN sha256;
-- Each object has one owner again: the other names for it are lost.
DELETE FROM renditions later USING renditions first
    WHERE later.key = first.key AND (later.image_id, later.name) > (first.image_id, first.name);
DROP INDEX renditions_of_key;
ALTER TABLE renditions ADD CONSTRAINT renditions_key_key UNIQUE (key);
DROP TABLE rendition_orders;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
