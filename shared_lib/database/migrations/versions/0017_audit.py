"""An audit log that only grows."""

from alembic import op

revision = "0017"
down_revision = "0016"

UPGRADE = """
CREATE TABLE audit_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text COLLATE "C" NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    principal text NOT NULL,
    address text NOT NULL,
    request_id text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    details text NOT NULL
);
CREATE INDEX audit_events_newest ON audit_events (tenant_id, id DESC);
CREATE INDEX audit_events_by_time ON audit_events (recorded_at);

-- Apart from the events, so that nobody ever updates one, and transactions that record something need not wait for one
-- another.
CREATE TABLE audit_chain (
    position bigint PRIMARY KEY,
    event_id bigint NOT NULL UNIQUE,
    hash bytea NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.recorded_at < now() - interval '90 days' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log only grows' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE FUNCTION refuse_truncation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log only grows' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE ON audit_events FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE ON audit_chain FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER stays BEFORE TRUNCATE ON audit_events FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncation();
CREATE TRIGGER stays BEFORE TRUNCATE ON audit_chain FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncation();

ALTER TABLE audit_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON audit_events FOR INSERT TO images_app WITH CHECK (tenant_id = current_tenant());
CREATE POLICY owner ON audit_events TO images_owner
    USING (coalesce(current_setting('app.tenant', true), '') IN ('', tenant_id));
CREATE POLICY worker ON audit_events TO images_worker USING (true);
CREATE POLICY search ON audit_events FOR SELECT TO images_search USING (true);
CREATE POLICY auditor ON audit_events FOR SELECT TO images_auditor USING (true);

-- The functions of the API may not read the table.
CREATE FUNCTION list_audit_events(before bigint, only_action text, only_subject text, most integer)
RETURNS SETOF audit_events
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM public.audit_events WHERE tenant_id = public.current_tenant() AND id < before
    AND action = coalesce(only_action, action) AND subject = coalesce(only_subject, subject)
    ORDER BY id DESC LIMIT most
$$;
ALTER FUNCTION list_audit_events OWNER TO images_search;
SET LOCAL ROLE images_search;
REVOKE ALL ON FUNCTION list_audit_events FROM PUBLIC;
GRANT EXECUTE ON FUNCTION list_audit_events TO images_app, images_owner;
SET LOCAL ROLE images_owner;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute("SET LOCAL ROLE images_search")
    op.execute("DROP FUNCTION list_audit_events")
    op.execute("SET LOCAL ROLE images_owner")
    op.execute("DROP TABLE audit_events, audit_chain")
    op.execute("DROP FUNCTION refuse_audit_change, refuse_truncation")
