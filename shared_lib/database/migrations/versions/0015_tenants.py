"""Tenants: every row that belongs to one says so, and row-level security shows each tenant its own rows only."""

from collections.abc import Iterator

from alembic import op

revision = "0015"
down_revision = "0014"

COLUMNS = """
CREATE TABLE tenants (
    id text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO tenants (id) VALUES ('default');

-- The default is for functions of the last release, which know no tenants. Only keys reference `tenants`: otherwise
-- every upload would lock its tenant's row.
ALTER TABLE collections ADD COLUMN tenant_id text COLLATE "C" NOT NULL DEFAULT 'default';
ALTER TABLE images ADD COLUMN tenant_id text COLLATE "C" NOT NULL DEFAULT 'default';
ALTER TABLE renditions ADD COLUMN tenant_id text COLLATE "C" NOT NULL DEFAULT 'default';
ALTER TABLE rendition_requests ADD COLUMN tenant_id text COLLATE "C" NOT NULL DEFAULT 'default';
ALTER TABLE processing_attempts ADD COLUMN tenant_id text COLLATE "C" NOT NULL DEFAULT 'default';
ALTER TABLE multipart_uploads ADD COLUMN tenant_id text COLLATE "C" NOT NULL DEFAULT 'default';
ALTER TABLE deliveries ADD COLUMN tenant_id text COLLATE "C" NOT NULL DEFAULT 'default';
ALTER TABLE image_counts ADD COLUMN tenant_id text COLLATE "C" NOT NULL DEFAULT 'default';
ALTER TABLE api_keys ADD COLUMN tenant_id text COLLATE "C" NOT NULL DEFAULT 'default' REFERENCES tenants (id);
ALTER TABLE dead_letters ADD COLUMN tenant_id text COLLATE "C" NOT NULL DEFAULT 'default';
-- As the gallery's keys have it.
ALTER TABLE original_removals ADD COLUMN tenant_id text COLLATE "C" NOT NULL GENERATED ALWAYS AS (
    CASE WHEN starts_with(key, 't/') THEN split_part(key, '/', 2) ELSE 'default' END) STORED;

-- What belongs together belongs to one tenant.
ALTER TABLE collections ADD CONSTRAINT collections_of_tenant UNIQUE (tenant_id, uuid);
ALTER TABLE images ADD CONSTRAINT images_of_tenant UNIQUE (tenant_id, uuid);
ALTER TABLE images DROP CONSTRAINT images_collection_id_fkey;
ALTER TABLE images ADD CONSTRAINT images_collection_id_fkey FOREIGN KEY (tenant_id, collection_id)
    REFERENCES collections (tenant_id, uuid) ON DELETE RESTRICT;
ALTER TABLE renditions DROP CONSTRAINT renditions_image_id_fkey;
ALTER TABLE renditions ADD CONSTRAINT renditions_image_id_fkey FOREIGN KEY (tenant_id, image_id)
    REFERENCES images (tenant_id, uuid) ON DELETE CASCADE;
ALTER TABLE rendition_requests DROP CONSTRAINT rendition_requests_image_id_fkey;
ALTER TABLE rendition_requests ADD CONSTRAINT rendition_requests_image_id_fkey FOREIGN KEY (tenant_id, image_id)
    REFERENCES images (tenant_id, uuid) ON DELETE CASCADE;
ALTER TABLE processing_attempts DROP CONSTRAINT processing_attempts_image_id_fkey;
ALTER TABLE processing_attempts ADD CONSTRAINT processing_attempts_image_id_fkey FOREIGN KEY (tenant_id, image_id)
    REFERENCES images (tenant_id, uuid) ON DELETE CASCADE;
ALTER TABLE multipart_uploads DROP CONSTRAINT multipart_uploads_image_id_fkey;
ALTER TABLE multipart_uploads ADD CONSTRAINT multipart_uploads_image_id_fkey FOREIGN KEY (tenant_id, image_id)
    REFERENCES images (tenant_id, uuid) ON DELETE CASCADE;
ALTER TABLE deliveries DROP CONSTRAINT deliveries_image_id_fkey;
ALTER TABLE deliveries ADD CONSTRAINT deliveries_image_id_fkey FOREIGN KEY (tenant_id, image_id)
    REFERENCES images (tenant_id, uuid) ON DELETE CASCADE;

-- Each order in which a tenant's items are paged through.
DROP INDEX images_newest, images_by_status, images_of_collection, images_of_collection_by_filename,
           images_of_collection_by_status, collections_newest, collections_changed, image_counts_of_collection,
           api_keys_created;
CREATE INDEX images_newest ON images (tenant_id, created_at, uuid) INCLUDE (status)
    WHERE deleted_at IS NULL AND status <> 'awaiting_upload';
CREATE INDEX images_by_status ON images (tenant_id, status, created_at, uuid) WHERE deleted_at IS NULL;
CREATE INDEX images_of_collection ON images (tenant_id, collection_id, created_at, uuid)
    WHERE collection_id IS NOT NULL;
CREATE INDEX images_of_collection_by_filename ON images (tenant_id, collection_id, filename, uuid)
    WHERE collection_id IS NOT NULL;
CREATE INDEX images_of_collection_by_status ON images (tenant_id, collection_id, status, uuid)
    WHERE collection_id IS NOT NULL;
CREATE INDEX collections_newest ON collections (tenant_id, created_at DESC, uuid DESC);
CREATE INDEX collections_changed ON collections (tenant_id, updated_at, uuid);
CREATE INDEX image_counts_of_collection ON image_counts (tenant_id, collection_id, status);
CREATE INDEX api_keys_created ON api_keys (tenant_id, created_at DESC, id);
"""

COUNTS = """
DROP FUNCTION change_image_count;
CREATE FUNCTION change_image_count(changed_tenant text, changed_collection uuid, changed_status text, by integer)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO image_counts (tenant_id, collection_id, status, change)
    VALUES (changed_tenant, changed_collection, changed_status, by);
    IF random() < 0.01 AND pg_try_advisory_xact_lock(7226032) THEN
        WITH added AS (
            DELETE FROM image_counts WHERE tenant_id = changed_tenant AND collection_id = changed_collection
            AND status = changed_status RETURNING change
        )
        INSERT INTO image_counts (tenant_id, collection_id, status, change)
        SELECT changed_tenant, changed_collection, changed_status, sum(change) FROM added HAVING sum(change) <> 0;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION count_image() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.deleted_at IS NULL AND OLD.status <> 'awaiting_upload' THEN
        PERFORM change_image_count(OLD.tenant_id, '00000000-0000-0000-0000-000000000000', OLD.status, -1);
        IF OLD.collection_id IS NOT NULL THEN
            PERFORM change_image_count(OLD.tenant_id, OLD.collection_id, OLD.status, -1);
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.deleted_at IS NULL AND NEW.status <> 'awaiting_upload' THEN
        PERFORM change_image_count(NEW.tenant_id, '00000000-0000-0000-0000-000000000000', NEW.status, 1);
        IF NEW.collection_id IS NOT NULL THEN
            PERFORM change_image_count(NEW.tenant_id, NEW.collection_id, NEW.status, 1);
        END IF;
    END IF;
    RETURN NULL;
END $$;
"""

STOCKS = """
CREATE OR REPLACE FUNCTION count_stock() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    tenant text := CASE WHEN TG_OP = 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END;
    more_images bigint := 0;
    more_bytes bigint := 0;
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.deleted_at IS NULL THEN
        more_images := -1;
        more_bytes := -coalesce(OLD.size_bytes, OLD.reserved_bytes, 0);
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.deleted_at IS NULL THEN
        more_images := more_images + 1;
        more_bytes := more_bytes + coalesce(NEW.size_bytes, NEW.reserved_bytes, 0);
    END IF;
    IF more_images = 0 AND more_bytes = 0 THEN
        RETURN NULL;
    END IF;
    INSERT INTO image_stocks (tenant_id, images, bytes) VALUES (tenant, more_images, more_bytes);
    IF random() < 0.01 AND pg_try_advisory_xact_lock(7226034) THEN
        WITH added AS (DELETE FROM image_stocks WHERE tenant_id = tenant RETURNING images, bytes)
        INSERT INTO image_stocks (tenant_id, images, bytes)
        SELECT tenant, sum(images), sum(bytes) FROM added HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;
"""

# The state of the whole service, for operators' metrics: no tenant's content. A view reads as its owner.
VIEWS = """
CREATE VIEW all_images AS SELECT uuid, tenant_id, status, deleted_at, queued_at, fence FROM images;
CREATE VIEW all_processing_attempts AS
    SELECT image_id, tenant_id, fence, started_at, ended_at, outcome, reason FROM processing_attempts;
CREATE VIEW all_dead_letters AS SELECT tenant_id, received_at FROM dead_letters;
CREATE VIEW all_image_counts AS SELECT tenant_id, collection_id, status, change FROM image_counts;
"""
ALL_VIEWS = ("all_images", "all_processing_attempts", "all_dead_letters", "all_image_counts")

# Row-level security keeps an index from being used with an operator that is not leakproof: a caller's `&&` or ILIKE
# would have to wait until the policy has seen each row. So functions that name the tenant themselves
# run as a role of their own, whose policy lets it read all rows. Two more find the tenant of a key, and of an image.
FUNCTIONS = """
-- A transaction that names no tenant is a bug. It gets an error and no rows.
CREATE FUNCTION current_tenant() RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    tenant text := current_setting('app.tenant', true);
BEGIN
    IF tenant IS NULL OR tenant = '' THEN
        RAISE EXCEPTION 'the transaction has no tenant';
    END IF;
    RETURN tenant;
END $$;

-- Before a key is found, nobody knows its tenant.
CREATE FUNCTION find_api_key(wanted text) RETURNS SETOF api_keys
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM public.api_keys WHERE id = wanted
$$;

-- A signed URL names an image, and no tenant.
CREATE FUNCTION find_image(wanted uuid)
RETURNS TABLE (uuid uuid, tenant_id text, status text, filename text, sha256 text, original_key text,
               content_type text, width integer, height integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.uuid, i.tenant_id, i.status, i.filename, i.sha256, i.original_key, i.content_type, i.width, i.height
    FROM public.images i WHERE i.uuid = wanted AND i.deleted_at IS NULL AND i.status <> 'awaiting_upload'
$$;

CREATE FUNCTION find_similar_images(wanted bit, quarters integer[], bits integer, besides uuid, most integer)
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

-- The statement is composed, because partial indexes need statuses as literals, and the planner chooses between the
-- order's index and that of trigrams by how frequent it takes the text to be.
CREATE FUNCTION search_items(listed text, pattern text, statuses text[], collection uuid, sort_by text,
                             descending boolean, after_value text, after_uuid uuid, most integer)
RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    direction text := CASE WHEN descending THEN 'DESC' ELSE 'ASC' END;
    tail text := format('ORDER BY %I %s, uuid %s LIMIT %s', sort_by, direction, direction, most);
    scope text := format('tenant_id = %L', public.current_tenant());
    parts text[];
BEGIN
    IF after_uuid IS NOT NULL THEN
        scope := scope || format(' AND (%I, uuid) %s (%L, %L)', sort_by, CASE WHEN descending THEN '<' ELSE '>' END,
                                 after_value, after_uuid);
    END IF;
    IF collection IS NOT NULL THEN
        scope := scope || format(' AND collection_id = %L', collection);
    END IF;
    IF listed = 'collections' THEN
        parts := ARRAY[format('(SELECT uuid, %I FROM public.collections WHERE %s AND name ILIKE %L %s)',
                              sort_by, scope, pattern, tail)];
    ELSE
        -- Only images that have ended are in the index of trigrams.
        SELECT array_agg(format(
            '(SELECT uuid, %I FROM public.images WHERE %s AND deleted_at IS NULL AND status IN (%s)
              AND (filename ILIKE %L OR description ILIKE %L) %s)', sort_by, scope, names, pattern, pattern, tail))
        INTO parts
        FROM (SELECT string_agg(quote_literal(status), ', ') AS names FROM unnest(statuses) AS wanted (status)
              GROUP BY status IN ('succeeded', 'failed')) AS each;
    END IF;
    RETURN QUERY EXECUTE format('SELECT uuid FROM (%s) AS matching %s', array_to_string(parts, ' UNION ALL '), tail);
END $$;
"""
DEFINERS = (
    "find_api_key(text)",
    "find_image(uuid)",
    "find_similar_images(bit, integer[], integer, uuid, integer)",
    "search_items(text, text, text[], uuid, text, boolean, text, uuid, integer)",
)

OF_APP = (
    "images",
    "renditions",
    "rendition_requests",
    "processing_attempts",
    "multipart_uploads",
    "deliveries",
    "dead_letters",
    "collections",
    "image_counts",
    "image_stocks",
    "rates",
    "original_removals",
    "api_keys",
    "tenants",
)
OF_WORKER = OF_APP[:-2]
OF_SEARCH = ("images", "collections", "api_keys", "processing_attempts", "dead_letters", "image_counts")


def secure() -> Iterator[str]:
    """Yield what enables row-level security, also for the owner: a function that connects as it has a tenant, too."""
    for table in OF_APP:
        tenant = "id" if table == "tenants" else "tenant_id"
        yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
        yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
        yield f"""
            CREATE POLICY tenant ON {table} TO images_app
            USING ({tenant} = current_tenant()) WITH CHECK ({tenant} = current_tenant())
        """
        # For migrations, operators' commands, and functions of the last release.
        yield f"""
            CREATE POLICY owner ON {table} TO images_owner
            USING (coalesce(current_setting('app.tenant', true), '') IN ('', {tenant}))
        """
    for table in OF_WORKER:
        yield f"CREATE POLICY worker ON {table} TO images_worker USING (true)"
    for table in OF_SEARCH:
        yield f"CREATE POLICY search ON {table} FOR SELECT TO images_search USING (true)"
    for function in DEFINERS:
        yield f"ALTER FUNCTION {function} OWNER TO images_search"
    for view in ALL_VIEWS:
        yield f"ALTER VIEW {view} OWNER TO images_search"
    yield "SET LOCAL ROLE images_search"
    for function in DEFINERS:
        yield f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC"
        yield f"GRANT EXECUTE ON FUNCTION {function} TO images_app, images_owner"
    for view in ALL_VIEWS:
        yield f"GRANT SELECT ON {view} TO images_app, images_owner"
    yield "SET LOCAL ROLE images_owner"


def upgrade() -> None:
    op.execute(COLUMNS)
    op.execute(COUNTS)
    op.execute(STOCKS)
    op.execute(VIEWS)
    op.execute(FUNCTIONS)
    for statement in secure():
        op.execute(statement)


UNDO_COLUMNS = """
DROP INDEX images_newest, images_by_status, images_of_collection, images_of_collection_by_filename,
           images_of_collection_by_status, collections_newest, collections_changed, image_counts_of_collection,
           api_keys_created;
ALTER TABLE processing_attempts DROP CONSTRAINT processing_attempts_image_id_fkey;
ALTER TABLE rendition_requests DROP CONSTRAINT rendition_requests_image_id_fkey;
ALTER TABLE renditions DROP CONSTRAINT renditions_image_id_fkey;
ALTER TABLE multipart_uploads DROP CONSTRAINT multipart_uploads_image_id_fkey;
ALTER TABLE deliveries DROP CONSTRAINT deliveries_image_id_fkey;
ALTER TABLE images DROP CONSTRAINT images_collection_id_fkey, DROP CONSTRAINT images_of_tenant;
ALTER TABLE collections DROP CONSTRAINT collections_of_tenant;
ALTER TABLE images ADD CONSTRAINT images_collection_id_fkey FOREIGN KEY (collection_id)
    REFERENCES collections (uuid) ON DELETE RESTRICT;
ALTER TABLE renditions ADD CONSTRAINT renditions_image_id_fkey FOREIGN KEY (image_id)
    REFERENCES images (uuid) ON DELETE CASCADE;
ALTER TABLE rendition_requests ADD CONSTRAINT rendition_requests_image_id_fkey FOREIGN KEY (image_id)
    REFERENCES images (uuid) ON DELETE CASCADE;
ALTER TABLE processing_attempts ADD CONSTRAINT processing_attempts_image_id_fkey FOREIGN KEY (image_id)
    REFERENCES images (uuid) ON DELETE CASCADE;
ALTER TABLE multipart_uploads ADD CONSTRAINT multipart_uploads_image_id_fkey FOREIGN KEY (image_id)
    REFERENCES images (uuid) ON DELETE CASCADE;
ALTER TABLE deliveries ADD CONSTRAINT deliveries_image_id_fkey FOREIGN KEY (image_id)
    REFERENCES images (uuid) ON DELETE CASCADE;
ALTER TABLE multipart_uploads DROP COLUMN tenant_id;
ALTER TABLE deliveries DROP COLUMN tenant_id;
ALTER TABLE images DROP COLUMN tenant_id;
ALTER TABLE collections DROP COLUMN tenant_id;
ALTER TABLE renditions DROP COLUMN tenant_id;
ALTER TABLE rendition_requests DROP COLUMN tenant_id;
ALTER TABLE processing_attempts DROP COLUMN tenant_id;
ALTER TABLE image_counts DROP COLUMN tenant_id;
ALTER TABLE api_keys DROP COLUMN tenant_id;
ALTER TABLE dead_letters DROP COLUMN tenant_id;
ALTER TABLE original_removals DROP COLUMN tenant_id;
DROP TABLE tenants;
CREATE INDEX images_newest ON images (created_at, uuid) INCLUDE (status)
    WHERE deleted_at IS NULL AND status <> 'awaiting_upload';
CREATE INDEX images_by_status ON images (status, created_at, uuid) WHERE deleted_at IS NULL;
CREATE INDEX images_of_collection ON images (collection_id, created_at, uuid) WHERE collection_id IS NOT NULL;
CREATE INDEX images_of_collection_by_filename ON images (collection_id, filename, uuid)
    WHERE collection_id IS NOT NULL;
CREATE INDEX images_of_collection_by_status ON images (collection_id, status, uuid) WHERE collection_id IS NOT NULL;
CREATE INDEX collections_newest ON collections (created_at DESC, uuid DESC);
CREATE INDEX collections_changed ON collections (updated_at, uuid);
CREATE INDEX image_counts_of_collection ON image_counts (collection_id, status);
CREATE INDEX api_keys_created ON api_keys (created_at DESC, id);
"""
UNDO_COUNTS = """
DROP FUNCTION change_image_count;
CREATE FUNCTION change_image_count(changed_collection uuid, changed_status text, by integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO image_counts (collection_id, status, change) VALUES (changed_collection, changed_status, by);
    IF random() < 0.01 AND pg_try_advisory_xact_lock(7226032) THEN
        WITH added AS (
            DELETE FROM image_counts WHERE collection_id = changed_collection AND status = changed_status
            RETURNING change
        )
        INSERT INTO image_counts (collection_id, status, change)
        SELECT changed_collection, changed_status, sum(change) FROM added HAVING sum(change) <> 0;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION count_image() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.deleted_at IS NULL AND OLD.status <> 'awaiting_upload' THEN
        PERFORM change_image_count('00000000-0000-0000-0000-000000000000', OLD.status, -1);
        IF OLD.collection_id IS NOT NULL THEN
            PERFORM change_image_count(OLD.collection_id, OLD.status, -1);
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.deleted_at IS NULL AND NEW.status <> 'awaiting_upload' THEN
        PERFORM change_image_count('00000000-0000-0000-0000-000000000000', NEW.status, 1);
        IF NEW.collection_id IS NOT NULL THEN
            PERFORM change_image_count(NEW.collection_id, NEW.status, 1);
        END IF;
    END IF;
    RETURN NULL;
END $$;
"""


UNDO_STOCKS = """
CREATE OR REPLACE FUNCTION count_stock() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    more_images bigint := 0;
    more_bytes bigint := 0;
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.deleted_at IS NULL THEN
        more_images := -1;
        more_bytes := -coalesce(OLD.size_bytes, OLD.reserved_bytes, 0);
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.deleted_at IS NULL THEN
        more_images := more_images + 1;
        more_bytes := more_bytes + coalesce(NEW.size_bytes, NEW.reserved_bytes, 0);
    END IF;
    IF more_images = 0 AND more_bytes = 0 THEN
        RETURN NULL;
    END IF;
    INSERT INTO image_stocks (images, bytes) VALUES (more_images, more_bytes);
    RETURN NULL;
END $$;
"""


def downgrade() -> None:
    """Lose who owns what: do so only if there is no tenant but the default one."""
    for table in OF_APP:
        op.execute(f"DROP POLICY tenant ON {table}")
        op.execute(f"DROP POLICY owner ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY")
    for table in OF_WORKER:
        op.execute(f"DROP POLICY worker ON {table}")
    for table in OF_SEARCH:
        op.execute(f"DROP POLICY search ON {table}")
    op.execute("SET LOCAL ROLE images_search")
    op.execute(f"DROP VIEW {', '.join(ALL_VIEWS)}")
    op.execute("DROP FUNCTION find_api_key, find_image, find_similar_images, search_items")
    op.execute("SET LOCAL ROLE images_owner")
    op.execute("DROP FUNCTION current_tenant")
    op.execute(UNDO_COLUMNS)
    op.execute(UNDO_COUNTS)
    op.execute(UNDO_STOCKS)
