"""Let a URL find the size of an image's original, and its collection."""

from alembic import op

revision = "0016"
down_revision = "0015"

# With SECURITY DEFINER: a signed URL names an image, and no tenant.
UPGRADE = """
CREATE FUNCTION find_image(wanted uuid)
RETURNS TABLE (uuid uuid, tenant_id text, status text, filename text, sha256 text, original_key text,
               content_type text, width integer, height integer, size_bytes bigint, collection_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.uuid, i.tenant_id, i.status, i.filename, i.sha256, i.original_key, i.content_type, i.width, i.height,
           i.size_bytes, i.collection_id
    FROM public.images i WHERE i.uuid = wanted AND i.deleted_at IS NULL AND i.status <> 'awaiting_upload'
$$;
"""
DOWNGRADE = """
CREATE FUNCTION find_image(wanted uuid)
RETURNS TABLE (uuid uuid, tenant_id text, status text, filename text, sha256 text, original_key text,
               content_type text, width integer, height integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.uuid, i.tenant_id, i.status, i.filename, i.sha256, i.original_key, i.content_type, i.width, i.height
    FROM public.images i WHERE i.uuid = wanted AND i.deleted_at IS NULL AND i.status <> 'awaiting_upload'
$$;
"""


def upgrade() -> None:
    _replace_function(UPGRADE)


def downgrade() -> None:
    _replace_function(DOWNGRADE)


def _replace_function(created: str) -> None:
    op.execute("SET LOCAL ROLE images_search")
    op.execute("DROP FUNCTION find_image")
    op.execute("SET LOCAL ROLE images_owner")
    op.execute(created)
    op.execute("ALTER FUNCTION find_image OWNER TO images_search")
    op.execute("SET LOCAL ROLE images_search")
    op.execute("REVOKE ALL ON FUNCTION find_image FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION find_image TO images_app, images_owner")
    op.execute("SET LOCAL ROLE images_owner")
