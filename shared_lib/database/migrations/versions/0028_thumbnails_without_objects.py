"""Keep thumbnails in the database alone. Those that have an object keep it."""

from alembic import op

revision = "0028"
down_revision = "0027"

# Releases before serve a thumbnail from its object, so they have to make it again.
REQUEST_AGAIN = """
INSERT INTO rendition_requests (tenant_id, image_id, name, recipe_hash, recipe)
SELECT tenant_id, image_id, name, recipe_hash, jsonb_build_object(
    'name', name,
    'operations', CAST('[{"kind": "resize", "width": 100, "height": 100}]' AS jsonb),
    'output', CAST('{"format": "source"}' AS jsonb)
) FROM renditions WHERE key IS NULL -- also under another name, if somebody requested the same recipe
ON CONFLICT DO NOTHING;

UPDATE images SET queued_at = now(), due_at = now() WHERE uuid IN (SELECT image_id FROM renditions WHERE key IS NULL);

DELETE FROM renditions WHERE key IS NULL;
"""


def upgrade() -> None:
    op.execute("ALTER TABLE renditions ALTER COLUMN key DROP NOT NULL")


def downgrade() -> None:
    op.execute(REQUEST_AGAIN)
    op.execute("ALTER TABLE renditions ALTER COLUMN key SET NOT NULL")
