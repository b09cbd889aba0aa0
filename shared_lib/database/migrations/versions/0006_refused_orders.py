"""When and how often a rendition was refused, so that a costly one is not tried again and again."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE rendition_orders ADD COLUMN refused_at timestamptz, ADD COLUMN refusals integer NOT NULL DEFAULT 0
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE rendition_orders DROP COLUMN refusals, DROP COLUMN refused_at")
