"""Receipts of erasures."""

from alembic import op

revision = "0021"
down_revision = "0020"

# What there was is written down when the erasure begins, because nobody knows it afterward.
UPGRADE = """
CREATE TABLE erasures (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id text COLLATE "C" NOT NULL,
    image_id uuid NOT NULL UNIQUE,
    requested_at timestamptz NOT NULL DEFAULT now(),
    requested_by text NOT NULL,
    objects jsonb NOT NULL,
    rows_erased jsonb NOT NULL,
    completed_at timestamptz
);
CREATE INDEX erasures_by_time ON erasures (requested_at);
ALTER TABLE erasures ENABLE ROW LEVEL SECURITY;
ALTER TABLE erasures FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON erasures TO images_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY owner ON erasures TO images_owner
    USING (coalesce(current_setting('app.tenant', true), '') IN ('', tenant_id));
CREATE POLICY worker ON erasures TO images_worker USING (true);

-- The functions of the API may not read the log, and learn no more from this than how much it has.
CREATE FUNCTION count_audit_events(wanted_principal text, wanted_subject text)
RETURNS TABLE (total bigint, first_at timestamptz, last_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*), min(recorded_at), max(recorded_at) FROM public.audit_events
    WHERE tenant_id = public.current_tenant()
    AND principal = coalesce(wanted_principal, principal) AND subject = coalesce(wanted_subject, subject)
$$;
ALTER FUNCTION count_audit_events OWNER TO images_search;
SET LOCAL ROLE images_search;
REVOKE ALL ON FUNCTION count_audit_events FROM PUBLIC;
GRANT EXECUTE ON FUNCTION count_audit_events TO images_app, images_owner;
SET LOCAL ROLE images_owner;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute("SET LOCAL ROLE images_search")
    op.execute("DROP FUNCTION count_audit_events")
    op.execute("SET LOCAL ROLE images_owner")
    op.execute("DROP TABLE erasures")
