"""Uploads in parts that were begun and not completed."""

from alembic import op

revision = "0010"
down_revision = "0009"

UPGRADE = """
CREATE TABLE multipart_uploads (
    image_id uuid PRIMARY KEY REFERENCES images (uuid) ON DELETE CASCADE,
    -- The store's.
    upload_id text NOT NULL,
    size_bytes bigint NOT NULL,
    part_bytes bigint NOT NULL
);
CREATE INDEX multipart_uploads_in_store ON multipart_uploads (upload_id);
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute("DROP TABLE multipart_uploads")
