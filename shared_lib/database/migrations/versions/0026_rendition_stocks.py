"""Count a tenant's renditions: those that are made, requested, or asked for by a URL."""

from alembic import op

revision = "0026"
down_revision = "0025"

TABLES = ("renditions", "rendition_requests", "deliveries")

FUNCTIONS = """
ALTER TABLE image_stocks ADD COLUMN renditions bigint NOT NULL DEFAULT 0;

CREATE FUNCTION compact_stocks(tenant text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF random() < 0.01 AND pg_try_advisory_xact_lock(7226034) THEN
        WITH added AS (DELETE FROM image_stocks WHERE tenant_id = tenant RETURNING images, bytes, renditions)
        INSERT INTO image_stocks (tenant_id, images, bytes, renditions)
        SELECT tenant, sum(images), sum(bytes), sum(renditions) FROM added HAVING count(*) > 0;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION count_stock() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    tenant text := CASE WHEN TG_OP = 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END;
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
    IF more_images <> 0 OR more_bytes <> 0 THEN
        INSERT INTO image_stocks (tenant_id, images, bytes) VALUES (tenant, more_images, more_bytes);
        PERFORM compact_stocks(tenant);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION count_renditions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counted record;
BEGIN
    FOR counted IN SELECT tenant_id, count(*) AS rows FROM changed GROUP BY tenant_id LOOP
        INSERT INTO image_stocks (tenant_id, images, bytes, renditions)
        VALUES (counted.tenant_id, 0, 0, CASE TG_OP WHEN 'INSERT' THEN counted.rows ELSE -counted.rows END);
        PERFORM compact_stocks(counted.tenant_id);
    END LOOP;
    RETURN NULL;
END $$;
"""

UNDO_FUNCTIONS = """
DROP FUNCTION count_renditions;

CREATE OR REPLACE FUNCTION count_stock() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    tenant text := CASE WHEN TG_OP = 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END;
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
    INSERT INTO image_stocks (tenant_id, images, bytes) VALUES (tenant, more_images, more_bytes);
    IF random() < 0.01 AND pg_try_advisory_xact_lock(7226034) THEN
        WITH added AS (DELETE FROM image_stocks WHERE tenant_id = tenant RETURNING images, bytes)
        INSERT INTO image_stocks (tenant_id, images, bytes)
        SELECT tenant, sum(images), sum(bytes) FROM added HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;

DROP FUNCTION compact_stocks;
ALTER TABLE image_stocks DROP COLUMN renditions;
"""


def upgrade() -> None:
    op.execute(FUNCTIONS)
    for table in TABLES:
        op.execute(f"""
            CREATE TRIGGER {table}_inserted AFTER INSERT ON {table} REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION count_renditions()
        """)
        op.execute(f"""
            CREATE TRIGGER {table}_deleted AFTER DELETE ON {table} REFERENCING OLD TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION count_renditions()
        """)
        op.execute(f"""
            INSERT INTO image_stocks (tenant_id, images, bytes, renditions)
            SELECT tenant_id, 0, 0, count(*) FROM {table} GROUP BY tenant_id
        """)  # noqa: S608  tables of ours


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TRIGGER {table}_inserted ON {table}")
        op.execute(f"DROP TRIGGER {table}_deleted ON {table}")
    op.execute(UNDO_FUNCTIONS)
