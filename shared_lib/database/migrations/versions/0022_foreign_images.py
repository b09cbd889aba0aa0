"""Images that were fetched from foreign servers, by their URLs."""

from alembic import op

revision = "0022"
down_revision = "0021"

UPGRADE = """
CREATE TABLE foreign_images (
    tenant_id text COLLATE "C" NOT NULL,
    url text COLLATE "C" NOT NULL CHECK (length(url) <= 2048),
    image_id uuid,
    etag text,
    last_modified text,
    fresh_until timestamptz NOT NULL DEFAULT '-infinity',
    claim uuid,
    claimable_at timestamptz NOT NULL DEFAULT '-infinity',
    failure text,
    PRIMARY KEY (tenant_id, url)
);
ALTER TABLE foreign_images ENABLE ROW LEVEL SECURITY;
ALTER TABLE foreign_images FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON foreign_images TO images_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY owner ON foreign_images TO images_owner
    USING (coalesce(current_setting('app.tenant', true), '') IN ('', tenant_id));
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute("DROP TABLE foreign_images")
