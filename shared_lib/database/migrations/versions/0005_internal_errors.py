"""Attempts that a mistake of our own ended."""

from alembic import op

revision = "0005"
down_revision = "0004"

UPGRADE = """
ALTER TABLE processing_attempts DROP CONSTRAINT processing_attempts_outcome_check;
ALTER TABLE processing_attempts ADD CONSTRAINT processing_attempts_outcome_check
    CHECK (outcome IN ('succeeded', 'failed', 'released', 'crashed', 'errored', 'lost'));
"""
DOWNGRADE = """
UPDATE processing_attempts SET outcome = 'crashed' WHERE outcome = 'errored';
ALTER TABLE processing_attempts DROP CONSTRAINT processing_attempts_outcome_check;
ALTER TABLE processing_attempts ADD CONSTRAINT processing_attempts_outcome_check
    CHECK (outcome IN ('succeeded', 'failed', 'released', 'crashed', 'lost'));
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
