"""Presets that a tenant makes at run time, with their versions."""

from alembic import op

revision = "0018"
down_revision = "0017"

UPGRADE = """
-- The highest version of a name counts. Without a recipe, the preset is deleted.
CREATE TABLE presets (
    tenant_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
    version integer NOT NULL CHECK (version > 0),
    recipe jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    PRIMARY KEY (tenant_id, name, version)
);
ALTER TABLE presets ENABLE ROW LEVEL SECURITY;
ALTER TABLE presets FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON presets TO images_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY owner ON presets TO images_owner
    USING (coalesce(current_setting('app.tenant', true), '') IN ('', tenant_id));
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute("DROP TABLE presets")
