"""Remember who asked for an image's processing: its decoder seconds are counted for that caller, too."""

from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.execute("ALTER TABLE images ADD COLUMN requested_by text")  # until its end was announced
    op.execute("""
        CREATE INDEX images_requested_by ON images (tenant_id, requested_by) WHERE requested_by IS NOT NULL
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE images DROP COLUMN requested_by")
