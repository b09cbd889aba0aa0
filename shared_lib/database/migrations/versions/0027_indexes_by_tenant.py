"""Let searches, also for similar images, read no other tenants' rows: the tenant is part of what their indexes have.

Before, a tenant of 1,000 images among a million paid for all matches of all tenants.
"""

from alembic import op

revision = "0027"
down_revision = "0026"

# A GIN index reads all rows of each of its columns' values before it compares them, and half of all rows may be one
# tenant's. So quarters of hashes are numbers that differ by tenant. Two tenants may have the same ones by chance, so
# the tenant is compared, too.
UPGRADE = """
CREATE EXTENSION IF NOT EXISTS btree_gin; -- roles.sql creates it, because the owner of tables may not

CREATE FUNCTION tenant_quarters(tenant text, quarters integer[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_agg((CAST(CAST('x' || left(md5(tenant), 11) AS bit(44)) AS bigint) << 18) + quarter)
    FROM unnest(quarters) AS quarter
$$;

DROP INDEX images_similar, images_by_text, collections_by_name;
CREATE INDEX images_similar ON images USING gin (tenant_quarters(tenant_id, perceptual_quarters))
    WHERE deleted_at IS NULL AND perceptual_hash IS NOT NULL;
CREATE INDEX images_by_text ON images USING gin (tenant_id, filename gin_trgm_ops, description gin_trgm_ops)
    WHERE deleted_at IS NULL AND status IN ('succeeded', 'failed');
CREATE INDEX collections_by_name ON collections USING gin (tenant_id, name gin_trgm_ops);
"""
FIND = """
CREATE OR REPLACE FUNCTION find_similar_images(wanted bit, quarters integer[], bits integer, besides uuid, most integer)
RETURNS TABLE (image uuid, distance integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off -- the planner overestimates how frequent each quarter is
AS $$
DECLARE
    tenant text := public.current_tenant();
    probes bigint[] := public.tenant_quarters(tenant, quarters);
BEGIN
    RETURN QUERY
    WITH near AS MATERIALIZED (
        SELECT uuid, tenant_id, created_at, CAST(bit_count(perceptual_hash # wanted) AS integer) AS difference
        FROM public.images
        WHERE deleted_at IS NULL AND perceptual_hash IS NOT NULL
        AND public.tenant_quarters(tenant_id, perceptual_quarters) && probes
        AND bit_count(perceptual_hash # wanted) <= bits
    )
    SELECT uuid, difference FROM near WHERE tenant_id = tenant AND uuid <> besides
    ORDER BY difference, created_at DESC, uuid LIMIT most;
END $$;
"""
DOWNGRADE = """
DROP INDEX images_similar, images_by_text, collections_by_name;
DROP FUNCTION tenant_quarters;
CREATE INDEX images_similar ON images USING gin (perceptual_quarters)
    WHERE deleted_at IS NULL AND perceptual_hash IS NOT NULL;
CREATE INDEX images_by_text ON images USING gin (filename gin_trgm_ops, description gin_trgm_ops)
    WHERE deleted_at IS NULL AND status IN ('succeeded', 'failed');
CREATE INDEX collections_by_name ON collections USING gin (name gin_trgm_ops);
"""
FIND_BEFORE = """
CREATE OR REPLACE FUNCTION find_similar_images(wanted bit, quarters integer[], bits integer, besides uuid, most integer)
RETURNS TABLE (image uuid, distance integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off -- the planner overestimates how frequent each quarter is
AS $$
    WITH near AS MATERIALIZED (
        SELECT uuid, tenant_id, created_at, CAST(bit_count(perceptual_hash # wanted) AS integer) AS distance
        FROM public.images
        WHERE deleted_at IS NULL AND perceptual_hash IS NOT NULL AND perceptual_quarters && quarters
        AND bit_count(perceptual_hash # wanted) <= bits
    )
    SELECT uuid, distance FROM near WHERE tenant_id = public.current_tenant() AND uuid <> besides
    ORDER BY distance, created_at DESC, uuid LIMIT most
$$;
"""


def upgrade() -> None:
    op.execute(UPGRADE)
    replace_function(FIND)


def downgrade() -> None:
    replace_function(FIND_BEFORE)
    op.execute(DOWNGRADE)


def replace_function(statement: str) -> None:
    op.execute("SET LOCAL ROLE images_search")
    op.execute(statement)
    op.execute("SET LOCAL ROLE images_owner")
