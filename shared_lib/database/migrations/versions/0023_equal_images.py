"""Find images by the SHA-256 of their original."""

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.execute("CREATE INDEX images_by_sha256 ON images (sha256) WHERE deleted_at IS NULL AND sha256 IS NOT NULL")


def downgrade() -> None:
    op.execute("DROP INDEX images_by_sha256")
