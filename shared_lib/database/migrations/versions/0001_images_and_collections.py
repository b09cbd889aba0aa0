"""Images, their renditions and attempts, collections, dead letters."""

from alembic import op

revision = "0001"
down_revision = None

SCHEMA = """
CREATE TABLE collections (
    uuid uuid PRIMARY KEY,
    name text NOT NULL,
    description text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX collections_newest ON collections (created_at DESC, uuid DESC);

CREATE TABLE images (
    uuid uuid PRIMARY KEY,
    filename text NOT NULL,
    description text,
    status text NOT NULL
        CHECK (status IN ('awaiting_upload', 'pending', 'processing', 'succeeded', 'failed')),
    created_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    -- RESTRICT decides the race between adding to a collection and deleting it.
    collection_id uuid REFERENCES collections (uuid) ON DELETE RESTRICT,
    content_type text,
    size_bytes bigint,
    width integer,
    height integer,
    failure_code text,
    failure_message text,
    -- The bytes of the thumbnail, kept beside the row so that a page of a hundred is one query.
    preview bytea,
    preview_type text,
    original_key text,
    -- Attempts of the present try; a replay starts again from 0. The history is in processing_attempts.
    attempts integer NOT NULL DEFAULT 0,
    -- Grows with every claim and with deletion: an older holder's writes match no row.
    fence bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    -- When the next look at a row that waits is due: an upload URL's end, or an event's time being up.
    due_at timestamptz,
    -- Whether the event of how it ended has reached Kafka.
    announced boolean NOT NULL DEFAULT false,
    -- A deleted image stays for a while without content, so that a late event cannot bring it back.
    deleted_at timestamptz,
    swept_at timestamptz,
    CHECK ((status IN ('succeeded', 'failed')) = (completed_at IS NOT NULL)),
    CHECK ((status = 'failed') = (failure_code IS NOT NULL)),
    CHECK ((status = 'processing') = (lease_until IS NOT NULL) OR deleted_at IS NOT NULL),
    CHECK (deleted_at IS NULL OR collection_id IS NULL)
);
CREATE INDEX images_newest ON images (created_at DESC, uuid DESC) WHERE deleted_at IS NULL;
CREATE INDEX images_of_collection ON images (collection_id) WHERE collection_id IS NOT NULL;
-- What reconciliation looks for stays small, however many images there are.
CREATE INDEX images_unfinished ON images (due_at)
    WHERE deleted_at IS NULL AND status IN ('awaiting_upload', 'pending', 'processing');
CREATE INDEX images_unannounced ON images (completed_at)
    WHERE deleted_at IS NULL AND status IN ('succeeded', 'failed') AND NOT announced;
CREATE INDEX images_deleted ON images (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE renditions (
    image_id uuid NOT NULL REFERENCES images (uuid) ON DELETE CASCADE,
    name text NOT NULL,
    recipe_hash text NOT NULL,
    key text NOT NULL UNIQUE,
    content_type text NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    size_bytes bigint NOT NULL,
    PRIMARY KEY (image_id, name)
);

CREATE TABLE processing_attempts (
    image_id uuid NOT NULL REFERENCES images (uuid) ON DELETE CASCADE,
    fence bigint NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    -- NULL while it runs.
    outcome text CHECK (outcome IN ('succeeded', 'failed', 'released', 'crashed', 'lost')),
    reason text,
    PRIMARY KEY (image_id, fence)
);

CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_source text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    image_id uuid,
    code integer,
    reason text NOT NULL,
    destination text,
    -- As it was: JSON, or whatever bytes could not be read.
    data bytea,
    received_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (event_source, event_id)
);
"""


def upgrade() -> None:
    op.execute(SCHEMA)


def downgrade() -> None:
    op.execute("DROP TABLE dead_letters, processing_attempts, renditions, images, collections")
