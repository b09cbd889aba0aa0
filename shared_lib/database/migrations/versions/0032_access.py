"""Let the database decide when a record was made and which records wait for their link, and who finds what by uuid."""

from alembic import op

revision = "0032"
down_revision = "0031"

# A queue of its own says which records have no link yet. A window of time would move with a clock that jumps, and with
# a time that somebody wrote into a record.
AUDIT = """
CREATE FUNCTION set_audit_time() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.recorded_at := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER set_time BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION set_audit_time();

CREATE TABLE audit_unlinked (
    event_id bigint PRIMARY KEY,
    waiting_since timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO audit_unlinked (event_id)
SELECT id FROM audit_events e WHERE NOT EXISTS (SELECT FROM audit_chain c WHERE c.event_id = e.id);

-- They belong to the owner of the tables: whoever inserts a record may not write here.
CREATE FUNCTION await_audit_link() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.audit_unlinked (event_id) VALUES (NEW.id);
    RETURN NULL;
END $$;
CREATE FUNCTION end_audit_wait() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM public.audit_unlinked WHERE event_id = NEW.event_id;
    RETURN NULL;
END $$;
CREATE TRIGGER await_link AFTER INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION await_audit_link();
CREATE TRIGGER end_wait AFTER INSERT ON audit_chain FOR EACH ROW EXECUTE FUNCTION end_audit_wait();

-- Only reconciliation says up to which link records were deleted after their time.
CREATE POLICY no_purge ON audit_events AS RESTRICTIVE FOR INSERT TO images_app, images_delivery
    WITH CHECK (action <> 'audit_purged');
CREATE POLICY delivery ON audit_events FOR INSERT TO images_delivery WITH CHECK (tenant_id = current_tenant());
"""

# In PL/pgSQL each statement names what it looks for, so each has an index.
READING = """
SET LOCAL ROLE images_search;
CREATE OR REPLACE FUNCTION count_audit_events(wanted_principal text, wanted_subject text)
RETURNS TABLE (total bigint, first_at timestamptz, last_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF wanted_subject IS NULL THEN
        RETURN QUERY SELECT count(*), min(recorded_at), max(recorded_at) FROM public.audit_events
        WHERE tenant_id = public.current_tenant() AND principal = wanted_principal;
    ELSE
        RETURN QUERY SELECT count(*), min(recorded_at), max(recorded_at) FROM public.audit_events
        WHERE tenant_id = public.current_tenant() AND subject = wanted_subject
        AND principal = coalesce(wanted_principal, principal);
    END IF;
END $$;
CREATE OR REPLACE FUNCTION list_audit_events(before bigint, only_action text, only_subject text, most integer)
RETURNS SETOF audit_events
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF only_subject IS NOT NULL THEN
        RETURN QUERY SELECT * FROM public.audit_events
        WHERE tenant_id = public.current_tenant() AND id < before AND subject = only_subject
        AND action = coalesce(only_action, action) ORDER BY id DESC LIMIT most;
    ELSIF only_action IS NOT NULL THEN
        RETURN QUERY SELECT * FROM public.audit_events
        WHERE tenant_id = public.current_tenant() AND id < before AND action = only_action
        ORDER BY id DESC LIMIT most;
    ELSE
        RETURN QUERY SELECT * FROM public.audit_events
        WHERE tenant_id = public.current_tenant() AND id < before ORDER BY id DESC LIMIT most;
    END IF;
END $$;
SET LOCAL ROLE images_owner;
"""
UNDO_READING = """
SET LOCAL ROLE images_search;
CREATE OR REPLACE FUNCTION count_audit_events(wanted_principal text, wanted_subject text)
RETURNS TABLE (total bigint, first_at timestamptz, last_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*), min(recorded_at), max(recorded_at) FROM public.audit_events
    WHERE tenant_id = public.current_tenant()
    AND principal = coalesce(wanted_principal, principal) AND subject = coalesce(wanted_subject, subject)
$$;
CREATE OR REPLACE FUNCTION list_audit_events(before bigint, only_action text, only_subject text, most integer)
RETURNS SETOF audit_events
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM public.audit_events WHERE tenant_id = public.current_tenant() AND id < before
    AND action = coalesce(only_action, action) AND subject = coalesce(only_subject, subject)
    ORDER BY id DESC LIMIT most
$$;
SET LOCAL ROLE images_owner;
"""

# Of all that is delivered by URL, with what the tenant has revoked: in one look, as migration 0025 has it.
DELIVERY = """
ALTER TABLE tenants ADD COLUMN links_since timestamptz;
COMMENT ON COLUMN tenants.links_since IS 'signed links that were issued before are revoked';
CREATE POLICY search ON tenants FOR SELECT TO images_search USING (true);

CREATE FUNCTION find_rendition(wanted uuid, recipe text)
RETURNS TABLE (uuid uuid, tenant_id text, status text, filename text, sha256 text, original_key text,
               content_type text, width integer, height integer, size_bytes bigint, collection_id uuid,
               links_since timestamptz,
               made_key text, made_type text, made_size bigint, failure_code text, failure_message text,
               is_claimable boolean, is_long_unused boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT i.uuid, i.tenant_id, i.status, i.filename, i.sha256, i.original_key, i.content_type, i.width, i.height,
           i.size_bytes, i.collection_id, (SELECT t.links_since FROM public.tenants t WHERE t.id = i.tenant_id), made.*
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
ALTER FUNCTION find_rendition OWNER TO images_search;
"""

OF_DELIVERY = (
    "images",
    "renditions",
    "rendition_requests",
    "deliveries",
    "presets",
    "foreign_images",
    "processing_attempts",
    "dead_letters",
    "image_counts",
    "original_removals",
    "outbox",
    "multipart_uploads",
    "image_stocks",
    "rates",
    "tenants",
    "api_keys",
)
"""Tables of which the functions that deliver see one tenant's rows."""


def upgrade() -> None:
    op.execute(AUDIT)
    op.execute(READING)
    op.execute(DELIVERY)
    for table in OF_DELIVERY:
        tenant = "id" if table == "tenants" else "tenant_id"
        op.execute(f"""
            CREATE POLICY delivery ON {table} TO images_delivery
            USING ({tenant} = current_tenant()) WITH CHECK ({tenant} = current_tenant())
        """)


def downgrade() -> None:
    for table in OF_DELIVERY:
        op.execute(f"DROP POLICY delivery ON {table}")
    op.execute("SET LOCAL ROLE images_search")
    op.execute("DROP FUNCTION find_rendition")
    op.execute("SET LOCAL ROLE images_owner")
    op.execute("DROP POLICY search ON tenants; ALTER TABLE tenants DROP COLUMN links_since")
    op.execute(UNDO_READING)
    op.execute("DROP INDEX IF EXISTS audit_events_by_subject, audit_events_by_principal, audit_events_by_action")
    op.execute("DROP POLICY delivery ON audit_events; DROP POLICY no_purge ON audit_events")
    op.execute("DROP TRIGGER end_wait ON audit_chain; DROP TRIGGER await_link ON audit_events")
    op.execute("DROP TRIGGER set_time ON audit_events; DROP TABLE audit_unlinked")
    op.execute("DROP FUNCTION set_audit_time, await_audit_link, end_audit_wait")
