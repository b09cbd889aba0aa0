"""Rates of principals, and the stocks of images and bytes that quotas limit."""

from alembic import op

revision = "0013"
down_revision = "0012"

UPGRADE = """
-- Unlogged: a crash of the server fills every bucket, and that is all that is lost.
CREATE UNLOGGED TABLE rates (
    tenant_id text COLLATE "C" NOT NULL,
    principal text NOT NULL,
    name text NOT NULL,
    full_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, principal, name)
);

-- Bytes that an awaited upload may have, until its own size is known.
ALTER TABLE images ADD COLUMN reserved_bytes bigint;

-- How many images there are, and how many bytes: the sums of all changes, as in image_counts. Awaited uploads count.
CREATE TABLE image_stocks (
    tenant_id text COLLATE "C" NOT NULL DEFAULT 'default',
    images bigint NOT NULL,
    bytes bigint NOT NULL
);
CREATE INDEX image_stocks_of_tenant ON image_stocks (tenant_id);

CREATE FUNCTION count_stock() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    more_images bigint := 0;
    more_bytes bigint := 0;
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.deleted_at IS NULL THEN
        more_images := -1;
        more_bytes := -coalesce(OLD.size_bytes, OLD.reserved_bytes, 0);
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.deleted_at IS NULL THEN
        more_images := more_images + 1;
        more_bytes := more_bytes + coalesce(NEW.size_bytes, NEW.reserved_bytes, 0);
    END IF;
    IF more_images = 0 AND more_bytes = 0 THEN
        RETURN NULL;
    END IF;
    INSERT INTO image_stocks (images, bytes) VALUES (more_images, more_bytes);
    IF random() < 0.01 AND pg_try_advisory_xact_lock(7226034) THEN
        WITH added AS (DELETE FROM image_stocks RETURNING tenant_id, images, bytes)
        INSERT INTO image_stocks (tenant_id, images, bytes)
        SELECT tenant_id, sum(images), sum(bytes) FROM added GROUP BY tenant_id;
    END IF;
    RETURN NULL;
END $$;

INSERT INTO image_stocks (images, bytes)
SELECT count(*), coalesce(sum(size_bytes), 0) FROM images WHERE deleted_at IS NULL;

CREATE TRIGGER images_stocked AFTER INSERT OR DELETE ON images FOR EACH ROW EXECUTE FUNCTION count_stock();
CREATE TRIGGER images_restocked AFTER UPDATE OF size_bytes, reserved_bytes, deleted_at ON images FOR EACH ROW
    WHEN ((OLD.size_bytes, OLD.reserved_bytes, OLD.deleted_at) IS DISTINCT FROM
          (NEW.size_bytes, NEW.reserved_bytes, NEW.deleted_at))
    EXECUTE FUNCTION count_stock();
"""

DOWNGRADE = """
DROP TRIGGER images_restocked ON images;
DROP TRIGGER images_stocked ON images;
DROP FUNCTION count_stock;
DROP TABLE image_stocks;
ALTER TABLE images DROP COLUMN reserved_bytes;
DROP TABLE rates;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
