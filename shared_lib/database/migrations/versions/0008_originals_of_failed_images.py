"""An index that finds the originals of failed images, which are kept for some days."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("""
        CREATE INDEX images_failed_with_original ON images (created_at)
        WHERE status = 'failed' AND original_key IS NOT NULL AND deleted_at IS NULL
    """)


def downgrade() -> None:
    op.execute("DROP INDEX images_failed_with_original")
    op.execute("UPDATE images SET original_key = NULL WHERE status = 'failed' AND deleted_at IS NULL")
