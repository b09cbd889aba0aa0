"""What operators see: how long images wait, recent attempts, and what reconciliation repaired."""

from alembic import op

revision = "0011"
down_revision = "0010"

UPGRADE = """
-- When the image last became pending. NULL for one that has ended before this release.
ALTER TABLE images ADD COLUMN queued_at timestamptz;
ALTER TABLE images ALTER COLUMN queued_at SET DEFAULT now();
UPDATE images SET queued_at = created_at
    WHERE deleted_at IS NULL AND status IN ('awaiting_upload', 'pending', 'processing');
CREATE INDEX images_queued ON images (queued_at) WHERE deleted_at IS NULL AND status = 'pending';
CREATE INDEX images_processing ON images (uuid) WHERE deleted_at IS NULL AND status = 'processing';

-- Not of `ended_at`: an index of a column that changes would make each end of an attempt dearer.
CREATE INDEX processing_attempts_started ON processing_attempts (started_at);

-- How often each kind of repair was made, and how often reconciliation ran (`run`) or failed (`failed_run`).
CREATE TABLE reconciliation_counts (
    kind text PRIMARY KEY,
    total bigint NOT NULL,
    last_at timestamptz NOT NULL
);
"""

DOWNGRADE = """
DROP TABLE reconciliation_counts;
DROP INDEX processing_attempts_started;
DROP INDEX images_processing;
DROP INDEX images_queued;
ALTER TABLE images DROP COLUMN queued_at;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
