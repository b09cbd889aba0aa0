"""Keys in the inbox that say whose upload it is."""

from alembic import op

revision = "0033"
down_revision = "0032"

UPGRADE = """
-- The last release writes none: there, an upload's key was the image's uuid.
ALTER TABLE multipart_uploads ADD COLUMN key text COLLATE "C";

-- An object becomes an image only of a tenant that there is.
CREATE POLICY worker ON tenants FOR SELECT TO images_worker USING (true);

-- While functions of the last release run, they take the key of another tenant's upload for one that a client chose,
-- and would make an image of the default tenant of it. It is named after the key's last part.
CREATE FUNCTION refuse_foreign_upload() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM images WHERE uuid = CAST(NEW.filename AS uuid) AND tenant_id <> NEW.tenant_id) THEN
        RAISE EXCEPTION 'the upload % is that of another tenant', NEW.filename;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER images_adopted BEFORE INSERT ON images FOR EACH ROW
    WHEN (current_user = 'images_worker' AND NEW.filename ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')
    EXECUTE FUNCTION refuse_foreign_upload();
"""
DOWNGRADE = """
DROP TRIGGER images_adopted ON images;
DROP FUNCTION refuse_foreign_upload();
DROP POLICY worker ON tenants;
ALTER TABLE multipart_uploads DROP COLUMN key;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
