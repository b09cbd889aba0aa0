"""Give functions from before the outbox their mark back, so that a rollback past migration 0030 loses no end.

0030 dropped `images.announced` at once, which functions of the release before it still use. They set it when an image
ends and when that was announced. Triggers take both over into the outbox and cost the functions of today nothing: a
trigger on a column fires only for statements that name it, and the other one only for connections of those functions,
which call themselves `image-processing`, without the number of a migration.

To be dropped as soon as this is the last release: tests/releases/contractions.py.
"""

from alembic import op

revision = "0031"
down_revision = "0030"

_ENDED = "deleted_at IS NULL AND status IN ('succeeded', 'failed')"

UPGRADE = f"""
ALTER TABLE images ADD COLUMN announced boolean NOT NULL DEFAULT true;
UPDATE images SET announced = false FROM outbox WHERE uuid = image_id AND completed_at = ended_at AND {_ENDED};

CREATE FUNCTION keep_mark_in_outbox() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.announced THEN
        DELETE FROM public.outbox WHERE image_id = NEW.uuid AND ended_at = NEW.completed_at;
    ELSIF NEW.deleted_at IS NULL AND NEW.status IN ('succeeded', 'failed') THEN
        INSERT INTO public.outbox (image_id, tenant_id, ended_at) VALUES (NEW.uuid, NEW.tenant_id, NEW.completed_at)
        ON CONFLICT (image_id) DO UPDATE SET ended_at = excluded.ended_at, retry_at = NULL;
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION keep_mark_in_outbox() FROM PUBLIC;
CREATE TRIGGER images_marked AFTER UPDATE OF announced ON images FOR EACH ROW
    WHEN (NEW.announced <> OLD.announced OR NEW.completed_at IS DISTINCT FROM OLD.completed_at)
    EXECUTE FUNCTION keep_mark_in_outbox();

-- With each reconciliation of functions that look for marks. A minute is long for an end that is being announced.
CREATE FUNCTION mark_outbox() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM public.outbox USING public.images WHERE uuid = image_id AND deleted_at IS NOT NULL;
    UPDATE public.images SET announced = false FROM public.outbox
    WHERE uuid = image_id AND announced AND completed_at = ended_at AND {_ENDED}
    AND ended_at < now() - interval '1 minute';
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION mark_outbox() FROM PUBLIC;
CREATE TRIGGER images_put_off AFTER UPDATE OF retry_at ON images FOR EACH STATEMENT
    WHEN (current_setting('application_name') = 'image-processing')
    EXECUTE FUNCTION mark_outbox();
"""  # noqa: S608  our own conditions

DOWNGRADE = """
DROP TRIGGER images_put_off ON images;
DROP TRIGGER images_marked ON images;
DROP FUNCTION mark_outbox();
DROP FUNCTION keep_mark_in_outbox();
ALTER TABLE images DROP COLUMN announced;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
