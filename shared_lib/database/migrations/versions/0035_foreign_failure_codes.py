"""Remember the code of a foreign image's failure, too: a file that is no image is another one than none."""

from alembic import op

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    op.execute("ALTER TABLE foreign_images ADD COLUMN failure_code text")


def downgrade() -> None:
    op.execute("ALTER TABLE foreign_images DROP COLUMN failure_code")
