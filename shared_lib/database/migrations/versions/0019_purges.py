"""Names under which caches outside have to forget renditions."""

from alembic import op

revision = "0019"
down_revision = "0018"

UPGRADE = """
CREATE TABLE purges (
    tag text COLLATE "C" PRIMARY KEY,
    passes smallint NOT NULL DEFAULT 2,
    attempts integer NOT NULL DEFAULT 0,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX purges_due ON purges (due_at);

-- In the transaction that changes what a URL delivers, so that none is forgotten. A function of the API may not touch
-- other tags than those of what it changes.
CREATE FUNCTION request_purge() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed text;
BEGIN
    IF TG_TABLE_NAME = 'images' THEN
        changed := 'image-' || NEW.uuid;
    ELSE
        changed := 'preset-' || NEW.tenant_id || '-' || NEW.name;
    END IF;
    INSERT INTO public.purges (tag) VALUES (changed)
    ON CONFLICT (tag) DO UPDATE SET passes = 2, attempts = 0, requested_at = clock_timestamp(), due_at = now();
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION request_purge() FROM PUBLIC;
CREATE TRIGGER images_purged AFTER UPDATE OF deleted_at, sha256 ON images FOR EACH ROW
    WHEN (OLD.status = 'succeeded' AND (NEW.deleted_at IS DISTINCT FROM OLD.deleted_at OR NEW.sha256 <> OLD.sha256))
    EXECUTE FUNCTION request_purge();
CREATE TRIGGER presets_purged AFTER INSERT ON presets FOR EACH ROW EXECUTE FUNCTION request_purge();
"""
DOWNGRADE = """
DROP TRIGGER images_purged ON images;
DROP TRIGGER presets_purged ON presets;
DROP FUNCTION request_purge();
DROP TABLE purges;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
