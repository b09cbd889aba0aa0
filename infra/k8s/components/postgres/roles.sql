-- Create the roles of the service's database. Run it in that database as its administrator: a superuser, or a user who
-- may create roles and owns what an earlier release created. It changes nothing that is already so.
--
--   psql "$ADMINISTRATOR_URL" --set=ON_ERROR_STOP=1 --file=infra/k8s/components/postgres/roles.sql
--
-- A role can log in once it has a password: `\password images_app` in psql sends only a hash of it.
--
--   images_owner       owns the tables. Only the bootstrap job uses it.
--   images_app         functions that handle HTTP requests
--   images_delivery    those of them that send or make renditions
--   images_worker      functions that consume events
--   images_reconciler  reconcile-images: what images_worker may, and to store the keys of token issuers
--   images_reporter    report-state: reads counts and times of all tenants, and nothing else
--   images_auditor     reads the audit log, and nothing else
--   images_search      owns the database functions that read across row-level security, and never logs in
--   images_front       the front door of `make run`, one process for what images_app and images_delivery serve
--
-- shared_lib/database/rights.py grants all but the first their rights, with each bootstrap.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['images_owner', 'images_app', 'images_delivery', 'images_worker', 'images_reconciler',
                                'images_reporter', 'images_auditor', 'images_search', 'images_front'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', role);
        END IF;
    END LOOP;
    ALTER ROLE images_search NOLOGIN;
    ALTER ROLE images_owner NOINHERIT; -- it may give functions to images_search, and does not read as that one does
    IF NOT pg_has_role('images_owner', 'images_search', 'MEMBER') THEN
        GRANT images_search TO images_owner;
    END IF;
    IF NOT pg_has_role('images_reconciler', 'images_worker', 'MEMBER') THEN
        GRANT images_worker TO images_reconciler;
    END IF;
    IF NOT pg_has_role('images_front', 'images_app', 'MEMBER') THEN
        GRANT images_app, images_delivery TO images_front;
    END IF;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT images_owner TO %I', current_user); -- to hand tables over
    END IF;
    EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END $$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO images_app, images_delivery, images_worker, images_reporter, images_auditor;
GRANT USAGE, CREATE ON SCHEMA public TO images_owner, images_search;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gin;

DO $$
DECLARE
    object record;
BEGIN
    -- What an earlier release created with another role. That role keeps its access until you revoke it, so functions of
    -- the earlier release go on working.
    FOR object IN
        SELECT format('TABLE public.%I', relname) AS name, relowner AS owner FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relowner <> 'images_owner'::regrole AND relname IN (
            'alembic_version', 'api_keys', 'collections', 'dead_letters', 'image_counts', 'images', 'issuer_keys',
            'original_removals', 'processing_attempts', 'rendition_requests', 'renditions', 'scans')
        UNION ALL
        SELECT format('FUNCTION %s', oid::regprocedure), proowner FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proowner <> 'images_owner'::regrole
        AND proname IN ('change_image_count', 'count_image')
    LOOP
        IF NOT pg_has_role(object.owner, 'images_owner', 'MEMBER') THEN
            EXECUTE format('GRANT images_owner TO %s', object.owner::regrole);
        END IF;
        EXECUTE format('ALTER %s OWNER TO images_owner', object.name);
    END LOOP;
END $$;
