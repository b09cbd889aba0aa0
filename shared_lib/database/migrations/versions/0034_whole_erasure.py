"""Find what is left of an erased image: its URL on another server, and renditions that show it as a watermark."""

from alembic import op

revision = "0034"
down_revision = "0033"

UPGRADE = """
ALTER TABLE foreign_images ADD COLUMN used_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX foreign_images_of_image ON foreign_images (tenant_id, image_id) WHERE image_id IS NOT NULL;
CREATE INDEX foreign_images_by_use ON foreign_images (used_at);
CREATE POLICY worker ON foreign_images TO images_worker USING (true);

-- Written before the watermark is read. A row may outlive the rendition.
CREATE TABLE watermarks (
    tenant_id text COLLATE "C" NOT NULL,
    overlay_id uuid NOT NULL,
    image_id uuid NOT NULL,
    recipe_hash text NOT NULL,
    PRIMARY KEY (tenant_id, overlay_id, image_id, recipe_hash),
    FOREIGN KEY (tenant_id, image_id) REFERENCES images (tenant_id, uuid) ON DELETE CASCADE
);
CREATE INDEX watermarks_of_image ON watermarks (tenant_id, image_id);
ALTER TABLE watermarks ENABLE ROW LEVEL SECURITY;
ALTER TABLE watermarks FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON watermarks TO images_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY delivery ON watermarks TO images_delivery
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY owner ON watermarks TO images_owner
    USING (coalesce(current_setting('app.tenant', true), '') IN ('', tenant_id));
CREATE POLICY worker ON watermarks TO images_worker USING (true);

-- Caches forget the renditions of an image when one of them shows an erased watermark.
CREATE FUNCTION request_purge_of_watermarked() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.purges (tag) VALUES ('image-' || OLD.image_id)
    ON CONFLICT (tag) DO UPDATE SET passes = 2, attempts = 0, requested_at = clock_timestamp(), due_at = now();
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION request_purge_of_watermarked() FROM PUBLIC;
CREATE TRIGGER watermarks_purged AFTER DELETE ON watermarks FOR EACH ROW
    EXECUTE FUNCTION request_purge_of_watermarked();
"""
DOWNGRADE = """
DROP TABLE watermarks;
DROP FUNCTION request_purge_of_watermarked();
DROP POLICY worker ON foreign_images;
DROP INDEX foreign_images_of_image, foreign_images_by_use;
ALTER TABLE foreign_images DROP COLUMN used_at;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
