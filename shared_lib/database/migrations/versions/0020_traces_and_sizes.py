"""The trace that an image's processing belongs to, and what each tenant has in the gallery."""

from alembic import op

revision = "0020"
down_revision = "0019"

UPGRADE = """
-- Of the request that asked for its processing, until its end was announced.
ALTER TABLE images ADD COLUMN traceparent text COLLATE "C";

-- `bytes` is what the last comparison of the gallery found, and `counted` what the one under way has found so far.
CREATE TABLE gallery_sizes (
    tenant_id text COLLATE "C" PRIMARY KEY,
    bytes bigint NOT NULL DEFAULT 0,
    counted bigint NOT NULL DEFAULT 0
);
CREATE VIEW all_gallery_sizes AS SELECT tenant_id, bytes FROM gallery_sizes;

ALTER TABLE gallery_sizes ENABLE ROW LEVEL SECURITY;
ALTER TABLE gallery_sizes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON gallery_sizes TO images_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY owner ON gallery_sizes TO images_owner
    USING (coalesce(current_setting('app.tenant', true), '') IN ('', tenant_id));
CREATE POLICY worker ON gallery_sizes TO images_worker USING (true);
CREATE POLICY search ON gallery_sizes FOR SELECT TO images_search USING (true);
ALTER VIEW all_gallery_sizes OWNER TO images_search;
SET LOCAL ROLE images_search;
GRANT SELECT ON all_gallery_sizes TO images_app, images_owner;
SET LOCAL ROLE images_owner;
"""
DOWNGRADE = """
SET LOCAL ROLE images_search;
DROP VIEW all_gallery_sizes;
SET LOCAL ROLE images_owner;
DROP TABLE gallery_sizes;
ALTER TABLE images DROP COLUMN traceparent;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
