"""Delete API keys that ended long ago."""

from alembic import op

revision = "0014"
down_revision = "0013"

# The processor shares its role with reconciliation, and may neither read nor delete keys. So the function takes no
# argument: whoever calls it can delete nothing that is younger.
UPGRADE = """
CREATE FUNCTION purge_api_keys() RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH ended AS (
        DELETE FROM public.api_keys WHERE id = ANY(ARRAY(
            SELECT id FROM public.api_keys WHERE least(expires_at, revoked_at) < now() - interval '90 days'
            LIMIT 500 FOR UPDATE SKIP LOCKED))
        RETURNING id
    ) SELECT CAST(count(*) AS integer) FROM ended
$$;
REVOKE ALL ON FUNCTION purge_api_keys() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION purge_api_keys() TO images_worker;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute("DROP FUNCTION purge_api_keys")
