"""Keep the ends that are still to be announced in a table of their own: a transactional outbox.

A mark in the image's row took a new version of it, with entries of all its indexes.
"""

from alembic import op

revision = "0030"
down_revision = "0029"

_UNANNOUNCED = "deleted_at IS NULL AND status IN ('succeeded', 'failed') AND NOT announced"

UPGRADE = f"""
CREATE TABLE outbox (
    image_id uuid PRIMARY KEY,
    tenant_id text COLLATE "C" NOT NULL,
    ended_at timestamptz NOT NULL,
    retry_at timestamptz
);
CREATE INDEX outbox_by_retry ON outbox (retry_at NULLS FIRST);
ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON outbox TO images_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY owner ON outbox TO images_owner
    USING (coalesce(current_setting('app.tenant', true), '') IN ('', tenant_id));
CREATE POLICY worker ON outbox TO images_worker USING (true);
INSERT INTO outbox (image_id, tenant_id, ended_at)
SELECT uuid, tenant_id, completed_at FROM images WHERE {_UNANNOUNCED};
DROP INDEX images_unannounced;
ALTER TABLE images DROP COLUMN announced;
"""  # noqa: S608  our own condition

DOWNGRADE = f"""
ALTER TABLE images ADD COLUMN announced boolean NOT NULL DEFAULT false;
UPDATE images SET announced = true WHERE completed_at IS NOT NULL AND uuid NOT IN (SELECT image_id FROM outbox);
CREATE INDEX images_unannounced ON images (retry_at NULLS FIRST) WHERE {_UNANNOUNCED};
DROP TABLE outbox;
"""  # noqa: S608  (same)


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
