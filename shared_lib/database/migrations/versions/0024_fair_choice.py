"""Find unfinished images by tenant: a backlog delays only its own tenant."""

from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.execute("DROP INDEX images_unfinished")
    op.execute("""
        CREATE INDEX images_unfinished ON images (tenant_id, due_at NULLS FIRST)
        WHERE deleted_at IS NULL AND status <> 'awaiting_upload' AND (due_at IS NOT NULL OR lease_until IS NOT NULL)
    """)


def downgrade() -> None:
    op.execute("DROP INDEX images_unfinished")
    op.execute("""
        CREATE INDEX images_unfinished ON images (due_at)
        WHERE deleted_at IS NULL AND (due_at IS NOT NULL OR lease_until IS NOT NULL)
    """)
