"""Renditions that URLs ask for."""

from alembic import op

revision = "0012"
down_revision = "0011"

UPGRADE = """
CREATE TABLE deliveries (
    image_id uuid NOT NULL REFERENCES images (uuid) ON DELETE CASCADE,
    recipe_hash text NOT NULL,
    -- Once it is made:
    key text COLLATE "C",
    content_type text,
    size_bytes bigint,
    -- Until then: who makes it, and from when on another one may.
    claim uuid,
    claimable_at timestamptz,
    failure_code text,
    failure_message text,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (image_id, recipe_hash),
    CHECK ((key IS NULL) = (content_type IS NULL) AND (key IS NULL) = (size_bytes IS NULL)),
    CHECK (key IS NOT NULL OR claimable_at IS NOT NULL)
);
CREATE INDEX deliveries_of_key ON deliveries (key) WHERE key IS NOT NULL;
CREATE INDEX deliveries_used ON deliveries (used_at);
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute("DROP TABLE deliveries")
