"""Search by trigrams, pages by index alone, and counts that are kept instead of counted."""

from alembic import op

revision = "0004"
down_revision = "0003"

UPGRADE = """
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- Each order in which images are paged through has an index that answers it without the rows.
DROP INDEX images_newest;
CREATE INDEX images_newest ON images (created_at, uuid) INCLUDE (status)
    WHERE deleted_at IS NULL AND status <> 'awaiting_upload';
CREATE INDEX images_by_status ON images (status, created_at, uuid) WHERE deleted_at IS NULL;
DROP INDEX images_of_collection;
CREATE INDEX images_of_collection ON images (collection_id, created_at, uuid) WHERE collection_id IS NOT NULL;
CREATE INDEX images_of_collection_by_filename ON images (collection_id, filename, uuid)
    WHERE collection_id IS NOT NULL;
CREATE INDEX images_of_collection_by_status ON images (collection_id, status, uuid) WHERE collection_id IS NOT NULL;
CREATE INDEX collections_changed ON collections (updated_at, uuid);

-- Only of images that have ended: each update of a row on its way would write all its trigrams anew.
CREATE INDEX images_by_text ON images USING gin (filename gin_trgm_ops, description gin_trgm_ops)
    WHERE deleted_at IS NULL AND status IN ('succeeded', 'failed');
CREATE INDEX collections_by_name ON collections USING gin (name gin_trgm_ops);

-- How many visible images there are: the sum of all changes. A change is a row of its own, so that no two transactions
-- ever wait for one another; now and then one of them adds them up.
CREATE TABLE image_counts (
    -- 00000000-0000-0000-0000-000000000000 stands for all images, whatever collection they are in.
    collection_id uuid NOT NULL,
    status text NOT NULL,
    change bigint NOT NULL
);
CREATE INDEX image_counts_of_collection ON image_counts (collection_id, status);

CREATE FUNCTION change_image_count(changed_collection uuid, changed_status text, by integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO image_counts (collection_id, status, change) VALUES (changed_collection, changed_status, by);
    IF random() < 0.01 AND pg_try_advisory_xact_lock(7226032) THEN
        WITH added AS (
            DELETE FROM image_counts WHERE collection_id = changed_collection AND status = changed_status
            RETURNING change
        )
        INSERT INTO image_counts (collection_id, status, change)
        SELECT changed_collection, changed_status, sum(change) FROM added HAVING sum(change) <> 0;
    END IF;
END $$;

CREATE FUNCTION count_image() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.deleted_at IS NULL AND OLD.status <> 'awaiting_upload' THEN
        PERFORM change_image_count('00000000-0000-0000-0000-000000000000', OLD.status, -1);
        IF OLD.collection_id IS NOT NULL THEN
            PERFORM change_image_count(OLD.collection_id, OLD.status, -1);
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.deleted_at IS NULL AND NEW.status <> 'awaiting_upload' THEN
        PERFORM change_image_count('00000000-0000-0000-0000-000000000000', NEW.status, 1);
        IF NEW.collection_id IS NOT NULL THEN
            PERFORM change_image_count(NEW.collection_id, NEW.status, 1);
        END IF;
    END IF;
    RETURN NULL;
END $$;

INSERT INTO image_counts (collection_id, status, change)
SELECT coalesce(collection_id, '00000000-0000-0000-0000-000000000000'), status, count(*) FROM images
WHERE deleted_at IS NULL AND status <> 'awaiting_upload'
GROUP BY GROUPING SETS ((status), (status, collection_id))
HAVING GROUPING(collection_id) = 1 OR collection_id IS NOT NULL;

CREATE TRIGGER images_counted AFTER INSERT OR DELETE ON images FOR EACH ROW EXECUTE FUNCTION count_image();
CREATE TRIGGER images_recounted AFTER UPDATE OF status, collection_id, deleted_at ON images FOR EACH ROW
    WHEN ((OLD.status, OLD.collection_id, OLD.deleted_at) IS DISTINCT FROM
          (NEW.status, NEW.collection_id, NEW.deleted_at))
    EXECUTE FUNCTION count_image();
"""

# The extension stays: others in the same database may use it.
DOWNGRADE = """
DROP TRIGGER images_recounted ON images;
DROP TRIGGER images_counted ON images;
DROP FUNCTION count_image;
DROP FUNCTION change_image_count;
DROP TABLE image_counts;
DROP INDEX collections_by_name;
DROP INDEX images_by_text;
DROP INDEX collections_changed;
DROP INDEX images_of_collection_by_status;
DROP INDEX images_of_collection_by_filename;
DROP INDEX images_of_collection;
CREATE INDEX images_of_collection ON images (collection_id) WHERE collection_id IS NOT NULL;
DROP INDEX images_by_status;
DROP INDEX images_newest;
CREATE INDEX images_newest ON images (created_at DESC, uuid DESC) WHERE deleted_at IS NULL;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
