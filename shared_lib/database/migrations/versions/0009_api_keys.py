"""API keys, and the public keys of token issuers."""

from alembic import op

revision = "0009"
down_revision = "0008"

UPGRADE = """
CREATE TABLE api_keys (
    id text PRIMARY KEY,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('viewer', 'editor', 'admin')),
    scopes text[],
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz,
    replaced_by text
);
CREATE INDEX api_keys_created ON api_keys (created_at DESC, id);

CREATE TABLE issuer_keys (
    issuer text PRIMARY KEY,
    keys jsonb NOT NULL DEFAULT '[]',
    fetched_at timestamptz,
    attempted_at timestamptz,
    wanted_at timestamptz
);
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute("DROP TABLE issuer_keys; DROP TABLE api_keys;")
