"""Let a URL find its image together with its rendition.

In PL/pgSQL, which plans a statement once for each connection, also behind a pooler that knows no prepared statements.
"""

from alembic import op

revision = "0025"
down_revision = "0024"

# With SECURITY DEFINER: a signed URL names an image, and no tenant.
FUNCTION = """
CREATE FUNCTION find_delivery(wanted uuid, recipe text)
RETURNS TABLE (uuid uuid, tenant_id text, status text, filename text, sha256 text, original_key text,
               content_type text, width integer, height integer, size_bytes bigint, collection_id uuid,
               made_key text, made_type text, made_size bigint, failure_code text, failure_message text,
               is_claimable boolean, is_long_unused boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT i.uuid, i.tenant_id, i.status, i.filename, i.sha256, i.original_key, i.content_type, i.width, i.height,
           i.size_bytes, i.collection_id, made.*
    FROM public.images i LEFT JOIN LATERAL (
        SELECT d.key, d.content_type, d.size_bytes, d.failure_code, d.failure_message, d.claimable_at < now(),
               d.used_at < now() - interval '1 day'
        FROM public.deliveries d WHERE d.image_id = wanted AND d.recipe_hash = recipe AND d.key IS NOT NULL
        UNION ALL
        -- A request for processing may have made the same rendition, under the same key.
        SELECT r.key, r.content_type, r.size_bytes, NULL, NULL, false, false
        FROM public.renditions r
        WHERE r.image_id = wanted AND split_part(split_part(r.key, '/', -1), '.', 1) = recipe
        UNION ALL
        SELECT NULL, NULL, NULL, d.failure_code, d.failure_message, d.claimable_at < now(), false
        FROM public.deliveries d WHERE d.image_id = wanted AND d.recipe_hash = recipe AND d.key IS NULL
        LIMIT 1
    ) AS made ON true
    WHERE i.uuid = wanted AND i.deleted_at IS NULL AND i.status <> 'awaiting_upload';
END $$;
"""


def upgrade() -> None:
    for table in ("deliveries", "renditions"):
        op.execute(f"CREATE POLICY search ON {table} FOR SELECT TO images_search USING (true)")
    op.execute(FUNCTION)
    op.execute("ALTER FUNCTION find_delivery OWNER TO images_search")
    op.execute("SET LOCAL ROLE images_search")
    op.execute("REVOKE ALL ON FUNCTION find_delivery FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION find_delivery TO images_app, images_owner")
    op.execute("SET LOCAL ROLE images_owner")


def downgrade() -> None:
    op.execute("SET LOCAL ROLE images_search")
    op.execute("DROP FUNCTION find_delivery")
    op.execute("SET LOCAL ROLE images_owner")
    for table in ("deliveries", "renditions"):
        op.execute(f"DROP POLICY search ON {table}")
