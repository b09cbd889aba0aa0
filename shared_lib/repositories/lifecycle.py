"""Every statement that writes to an image's row, except for its collection: `domain.images.TRANSITIONS` as SQL.

A statement that ends an image also puts that end into the outbox, until it was announced.

A comment names the transition. A statement that finds its row in another state changes nothing. The fence decides
whether a worker's claim is the current one: a claim and a deletion increase it, so an earlier holder matches no row.
"""

from shared_lib.database.driver import Prepared
from shared_lib.repositories.originals import NOT_BEING_REMOVED
from shared_lib.repositories.rows import END_COLUMNS, OF_TENANT, RENDITIONS, UNFINISHED_IMAGE, VISIBLE_IMAGE
from shared_lib.repositories.watermarks import MAY_BE_LAID

_PUT_INTO_OUTBOX = "INSERT INTO outbox (image_id, tenant_id, ended_at) SELECT uuid, tenant_id, now() FROM ended"
_ONCE = "ON CONFLICT (image_id) DO UPDATE SET ended_at = excluded.ended_at, retry_at = NULL"

# Unless it was requested again meanwhile.
_FORGET_REQUESTER = "requested_by = CASE WHEN due_at IS NOT NULL THEN requested_by END"


def announcing(update: str, *parts: str) -> str:
    """Return a statement that ends an image, and puts that end into the outbox. `parts` are others of its WITH."""
    own = f"ended AS ({update})", f"noted AS ({_PUT_INTO_OUTBOX} {_ONCE})"
    return f"WITH {', '.join((*parts, *own))} SELECT * FROM ended"


# CREATE and RESERVE
INSERT_IMAGE = Prepared("""
    INSERT INTO images (uuid, tenant_id, filename, description, status, size_bytes, reserved_bytes, due_at, traceparent,
                        requested_by)
    VALUES (:uuid, :tenant, :filename, :description, :status, :size, :reserved,
            now() + make_interval(secs => :wait), :trace, :by)
    ON CONFLICT (uuid) DO NOTHING RETURNING uuid
""")

_IS_PUBLISHED = """
    EXISTS (SELECT 1 FROM images published WHERE published.original_key = :key
            AND published.status = 'succeeded' AND published.deleted_at IS NULL) AS is_published
"""

# CREATE, with the original's key: it is named before the object is written.
INSERT_ORIGINAL = Prepared(f"""
    INSERT INTO images (uuid, tenant_id, filename, description, status, size_bytes, due_at, original_key, sha256,
                        traceparent, requested_by)
    SELECT :uuid, :tenant, :filename, :description, :status, :size, now() + make_interval(secs => :wait), :key, :sha256,
           :trace, :by
    WHERE {NOT_BEING_REMOVED}
    ON CONFLICT (uuid) DO UPDATE SET due_at = excluded.due_at RETURNING {_IS_PUBLISHED} -- if it is sent again
""")

# ARRIVE, of a direct upload whose object is stored. To repeat it changes nothing. False: it was deleted meanwhile.
CONFIRM_UPLOAD = Prepared("""
    WITH confirmed AS (
        UPDATE images SET status = 'pending', queued_at = now(), due_at = now() + make_interval(secs => :wait)
        WHERE tenant_id = :tenant AND uuid = :uuid AND status = 'awaiting_upload' AND deleted_at IS NULL RETURNING uuid
    ) SELECT EXISTS (SELECT FROM confirmed) OR EXISTS (
        SELECT FROM images WHERE tenant_id = :tenant AND uuid = :uuid AND status <> 'awaiting_upload'
        AND deleted_at IS NULL) AS confirmed
""")

# ARRIVE
MARK_ARRIVED = f"""
    UPDATE images SET status = 'pending', queued_at = now(), due_at = created_at WHERE uuid = ANY(ARRAY(
        SELECT uuid FROM images WHERE uuid = ANY(CAST(:uuids AS uuid[])) AND {OF_TENANT} AND status = 'awaiting_upload'
        AND deleted_at IS NULL ORDER BY uuid FOR UPDATE SKIP LOCKED))
"""

# REQUEST. A failed image's attempts are counted anew. A succeeded image's count is left to the next claim: the worker
# that holds it now may still die.
REQUEST_PROCESSING = """
    UPDATE images SET
        filename = coalesce(:filename, filename),
        description = CASE WHEN :describe THEN :description ELSE description END,
        attempts = CASE WHEN status = 'failed' THEN 0 ELSE attempts END,
        completed_at = CASE WHEN status = 'failed' THEN NULL ELSE completed_at END,
        failure_code = NULL, failure_message = NULL,
        traceparent = coalesce(:trace, traceparent),
        requested_by = CASE WHEN status IN ('awaiting_upload', 'failed') OR :renditions_pending
                            THEN CAST(:by AS text) ELSE requested_by END,
        queued_at = CASE WHEN status IN ('awaiting_upload', 'failed') OR (status = 'succeeded' AND :renditions_pending)
                         THEN now() ELSE queued_at END,
        due_at = CASE WHEN status IN ('awaiting_upload', 'failed') OR :renditions_pending
                      THEN now() + make_interval(secs => :wait) ELSE due_at END,
        status = CASE WHEN status IN ('awaiting_upload', 'failed') THEN 'pending' ELSE status END
    WHERE tenant_id = :tenant AND uuid = :uuid AND deleted_at IS NULL RETURNING status
"""

# No transition: an image is renamed or described.
DESCRIBE_IMAGE = f"""
    UPDATE images i SET filename = coalesce(:filename, filename),
                        description = CASE WHEN :describe THEN :description ELSE description END
    WHERE i.uuid = :uuid AND {VISIBLE_IMAGE} RETURNING uuid
"""

# CLAIM, in the transaction that locked the row. A succeeded image stays succeeded, whether or not the renditions can
# be made. The attempt is recorded at once.
CLAIM_IMAGE = Prepared("""
    WITH claimed AS (
        UPDATE images SET status = CASE status WHEN 'succeeded' THEN status ELSE 'processing' END,
                          attempts = :attempt, fence = fence + 1, due_at = NULL,
                          lease_until = now() + make_interval(secs => :lease)
        WHERE uuid = :uuid RETURNING uuid, tenant_id, fence, attempts, queued_at
    ), begun AS (
        INSERT INTO processing_attempts (tenant_id, image_id, fence) SELECT tenant_id, uuid, fence FROM claimed
    ) SELECT fence, attempts, CAST(extract(epoch FROM now() - queued_at) AS float8) AS waited FROM claimed
""")

# No transition: a worker that lives keeps its claims. In the order of uuids, as everyone locks several images.
RENEW_LEASES = """
    WITH held AS MATERIALIZED (
        SELECT images.uuid, images.fence FROM images
        JOIN unnest(CAST(:uuids AS uuid[]), CAST(:fences AS bigint[])) AS claimed (uuid, fence) USING (uuid, fence)
        WHERE lease_until IS NOT NULL ORDER BY images.uuid FOR NO KEY UPDATE OF images
    )
    UPDATE images SET lease_until = now() + make_interval(secs => :lease)
    FROM held WHERE images.uuid = held.uuid AND images.fence = held.fence RETURNING images.uuid, images.fence
"""

# No transition: a succeeded image that was to be claimed has no pending renditions any more. If some could not even be
# read, that is an end to announce.
SETTLE_SUCCEEDED = f"""
    WITH ended AS (
        UPDATE images SET due_at = NULL, lease_until = CASE WHEN lease_until > now() THEN lease_until END,
                          completed_at = CASE WHEN :failed THEN now() ELSE completed_at END, requested_by = NULL
        WHERE uuid = :uuid AND (due_at IS NOT NULL OR lease_until < now() OR :failed) RETURNING uuid, tenant_id
    ) {_PUT_INTO_OUTBOX} WHERE :failed {_ONCE}
"""

# RELEASE. An attempt that does not count is taken back.
RELEASE_CLAIM = """
    UPDATE images SET status = CASE status WHEN 'succeeded' THEN status ELSE 'pending' END, lease_until = NULL,
                      attempts = CASE WHEN :counted THEN attempts ELSE attempts - 1 END,
                      due_at = now() + make_interval(secs => :wait)
    WHERE uuid = :uuid AND fence = :fence AND lease_until IS NOT NULL
"""

# No transition: an original that came by the inbox is named once it is rendered, and before it is written.
NAME_ORIGINAL = f"""
    UPDATE images SET original_key = :key, sha256 = :sha256, size_bytes = :size
    WHERE uuid = :uuid AND fence = :fence AND lease_until IS NOT NULL AND deleted_at IS NULL AND {NOT_BEING_REMOVED}
    RETURNING {_IS_PUBLISHED}
"""

# SUCCEED
PUBLISH_IMAGE = f"""
    UPDATE images SET status = 'succeeded', completed_at = now(), lease_until = NULL, {_FORGET_REQUESTER},
                      content_type = :content_type, width = :width, height = :height,
                      metadata = coalesce(CAST(:metadata AS jsonb), metadata),
                      perceptual_hash = coalesce(CAST(CAST(:perceptual_hash AS text) AS bit(64)), perceptual_hash),
                      thumbnail = coalesce(:thumbnail, thumbnail),
                      thumbnail_type = coalesce(:thumbnail_type, thumbnail_type)
    WHERE uuid = :uuid AND fence = :fence AND lease_until IS NOT NULL AND deleted_at IS NULL RETURNING {END_COLUMNS}
"""

# FAIL, of an image that has not succeeded. It may be tried again while it names its original.
FAIL_CLAIMED_IMAGE = f"""
    UPDATE images SET status = 'failed', completed_at = now(), lease_until = NULL, {_FORGET_REQUESTER},
                      failure_code = :code, failure_message = :message,
                      original_key = CASE WHEN :keep THEN original_key END
    WHERE uuid = :uuid AND fence = :fence AND status = 'processing' AND deleted_at IS NULL
    RETURNING {END_COLUMNS}, NULL AS renditions
"""

# FAIL, of a succeeded image's renditions
END_SUCCEEDED_CLAIM = f"""
    UPDATE images i SET completed_at = now(), lease_until = NULL, {_FORGET_REQUESTER}
    WHERE uuid = :uuid AND fence = :fence AND lease_until IS NOT NULL AND deleted_at IS NULL
    RETURNING {END_COLUMNS}, {RENDITIONS}
"""

# GIVE_UP
FAIL_UNCLAIMED_IMAGE = announcing("""
    UPDATE images SET status = 'failed', failure_code = :code, failure_message = :message, completed_at = now(),
                      lease_until = NULL, due_at = NULL, requested_by = NULL, fence = fence + 1, original_key = NULL
    WHERE uuid = :uuid AND deleted_at IS NULL
    AND (status IN ('awaiting_upload', 'pending') OR (status = 'processing' AND lease_until < now()))
    RETURNING uuid, tenant_id
""")

# RETRY. A failed image's upload is kept for some days. Its attempts are counted anew.
_HAS_CODE = """
    (failure_code = ANY(CAST(:codes AS text[])) OR ('other' = ANY(CAST(:codes AS text[]))
                                                    AND failure_code <> ALL(CAST(:known AS text[]))))
"""
LIST_FAILED_IMAGES = f"""
    SELECT uuid FROM images WHERE {OF_TENANT} AND uuid > :after AND status = 'failed' AND deleted_at IS NULL
    AND {_HAS_CODE} AND created_at > now() - make_interval(days => :days)
    AND completed_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
    AND completed_at < coalesce(CAST(:until AS timestamptz), 'infinity')
    ORDER BY uuid LIMIT :batch
"""
RETRY_FAILED_IMAGES = f"""
    WITH retried AS (
        UPDATE images SET status = 'pending', attempts = 0, completed_at = NULL,
                          failure_code = NULL, failure_message = NULL, queued_at = now(), due_at = now()
        WHERE uuid = ANY(ARRAY({LIST_FAILED_IMAGES} FOR UPDATE))
        RETURNING uuid
    ) SELECT uuid FROM retried ORDER BY uuid
"""

# No transition: renditions of succeeded images are requested again. An image is locked before its requests, as by
# everyone who changes both.
_FAILED_RENDITION = f"""
    {_HAS_CODE}
    AND coalesce(failed_at, '-infinity') >= coalesce(CAST(:since AS timestamptz), '-infinity')
    AND coalesce(failed_at, '-infinity') < coalesce(CAST(:until AS timestamptz), 'infinity')
"""
LIST_FAILED_RENDITIONS = f"""
    SELECT DISTINCT image_id AS uuid FROM rendition_requests
    WHERE {OF_TENANT} AND image_id > :after AND {_FAILED_RENDITION}
    ORDER BY image_id LIMIT :batch
"""
RETRY_FAILED_RENDITIONS = f"""
    WITH held AS MATERIALIZED (
        SELECT uuid FROM images WHERE uuid = ANY(ARRAY({LIST_FAILED_RENDITIONS})) ORDER BY uuid FOR UPDATE
    ), requested AS (
        UPDATE rendition_requests SET failure_code = NULL, failure_message = NULL
        WHERE image_id IN (SELECT uuid FROM held) AND {_FAILED_RENDITION} RETURNING image_id
    ), retried AS (
        UPDATE images SET queued_at = now(), due_at = now()
        WHERE uuid IN (SELECT image_id FROM requested) RETURNING uuid
    ) SELECT uuid FROM held ORDER BY uuid
"""

# No transition: the original of an image that failed is kept for some days.
EXPIRE_ORIGINALS = """
    WITH expired AS MATERIALIZED (
        SELECT uuid, original_key FROM images
        WHERE status = 'failed' AND original_key IS NOT NULL AND deleted_at IS NULL
        AND created_at < now() - make_interval(days => :days)
        ORDER BY created_at LIMIT :batch FOR UPDATE SKIP LOCKED
    )
    UPDATE images SET original_key = NULL FROM expired WHERE images.uuid = expired.uuid RETURNING expired.original_key
"""

# DELETE. The tombstone keeps a late event or upload from bringing the image back. It keeps the original's key until the
# objects are gone.
_ERASE = """
    deleted_at = now(), fence = fence + 1, due_at = NULL, retry_at = NULL, collection_id = NULL,
    filename = '', description = NULL, thumbnail = NULL, thumbnail_type = NULL, content_type = NULL, size_bytes = NULL,
    reserved_bytes = NULL, width = NULL, height = NULL, sha256 = NULL, traceparent = NULL, requested_by = NULL,
    metadata = NULL, perceptual_hash = NULL, failure_code = NULL, failure_message = NULL
"""
DELETE_IMAGES = f"""
    UPDATE images SET {_ERASE}, cleaned_up_at = NULL
    WHERE uuid = ANY(ARRAY(
        SELECT uuid FROM images WHERE tenant_id = :tenant AND uuid = ANY(CAST(:uuids AS uuid[]))
        AND deleted_at IS NULL ORDER BY uuid FOR UPDATE))
    RETURNING uuid
"""

# FORGET
FORGET_ADOPTED_IMAGE = """
    DELETE FROM images WHERE uuid = :uuid AND status = 'pending' AND attempts = 0 AND deleted_at IS NULL
"""

# No transition: parts that were sent again take room, too.
COUNT_STORED_BYTES = """
    UPDATE images SET reserved_bytes = :stored
    WHERE uuid = :uuid AND status = 'awaiting_upload' AND deleted_at IS NULL AND reserved_bytes < :stored
"""

# EXPIRE. A PUT that began in time may still be on its way: the tombstone keeps it from becoming an image.
EXPIRE_RESERVATIONS = f"""
    WITH expired AS (
        UPDATE images SET {_ERASE}, cleaned_up_at = CASE WHEN original_key IS NULL AND NOT EXISTS (
            SELECT FROM multipart_uploads WHERE image_id = images.uuid) THEN now() END
        WHERE uuid = ANY(ARRAY(
            SELECT uuid FROM images WHERE deleted_at IS NULL AND status = 'awaiting_upload'
            AND due_at < now() - make_interval(secs => :skew) ORDER BY due_at LIMIT :batch FOR UPDATE SKIP LOCKED))
        RETURNING uuid
    ), withdrawn AS (DELETE FROM rendition_requests WHERE image_id IN (SELECT uuid FROM expired))
    SELECT uuid FROM expired
"""

# CLEAN_UP. A worker that holds it may still be writing objects, and a direct upload its original.
MARK_CLEANED_UP = f"""
    UPDATE images SET cleaned_up_at = now(), original_key = NULL
    WHERE uuid = :uuid AND {OF_TENANT} AND deleted_at IS NOT NULL AND (lease_until IS NULL OR lease_until < now())
    AND NOT (original_key IS NOT NULL AND status IN ('awaiting_upload', 'pending')
             AND created_at > now() - make_interval(secs => :writing))
    AND NOT EXISTS (SELECT 1 FROM deliveries WHERE image_id = :uuid AND claimable_at > now())
    AND NOT EXISTS ({MAY_BE_LAID})
"""

# PURGE
PURGE_TOMBSTONES = """
    DELETE FROM images WHERE uuid = ANY(ARRAY(
        SELECT uuid FROM images WHERE deleted_at IS NOT NULL
        AND cleaned_up_at < now() - make_interval(days => :days, secs => :skew)
        ORDER BY cleaned_up_at LIMIT :batch FOR UPDATE SKIP LOCKED))
    RETURNING uuid
"""

# No transition: the event for this end was published. One that came later is still to be announced.
MARK_ANNOUNCED = Prepared("DELETE FROM outbox WHERE image_id = :uuid AND ended_at = :ended")

# No transition, this and the next two: what reconciliation finds is put off, so that others have their turn.
# Tenants take turns in a batch, so that the backlog of one delays no other.
_IS_OVERDUE = f"""
    {UNFINISHED_IMAGE} AND (
        (i.status IN ('pending', 'succeeded') AND i.lease_until IS NULL AND i.due_at < coalesce(:before, now()))
        OR (i.lease_until < now() AND coalesce(i.due_at < :before, i.due_at <= now(), true)))
"""
DEFER_OVERDUE = f"""
    WITH RECURSIVE tenants (tenant_id) AS (
        (SELECT i.tenant_id FROM images i WHERE {UNFINISHED_IMAGE} ORDER BY i.tenant_id LIMIT 1)
        UNION ALL
        SELECT following.tenant_id FROM tenants CROSS JOIN LATERAL (
            SELECT i.tenant_id FROM images i WHERE {UNFINISHED_IMAGE} AND i.tenant_id > tenants.tenant_id
            ORDER BY i.tenant_id LIMIT 1) following
    ), chosen AS MATERIALIZED (
        SELECT first.uuid FROM tenants CROSS JOIN LATERAL (
            SELECT i.uuid, i.due_at, row_number() OVER (ORDER BY i.due_at NULLS FIRST) AS place FROM images i
            WHERE i.tenant_id = tenants.tenant_id AND {_IS_OVERDUE} ORDER BY i.due_at NULLS FIRST LIMIT :batch) first
        ORDER BY first.place, first.due_at NULLS FIRST LIMIT :batch
    )
    UPDATE images SET due_at = now() + make_interval(secs => :grace) WHERE uuid = ANY(ARRAY(
        SELECT i.uuid FROM images i WHERE i.uuid IN (SELECT uuid FROM chosen) AND {_IS_OVERDUE}
        FOR UPDATE SKIP LOCKED))
    RETURNING uuid, tenant_id AS tenant, created_at, status = 'succeeded' AS succeeded, original_key, traceparent
"""
DEFER_UNANNOUNCED = """
    UPDATE outbox SET retry_at = now() + make_interval(secs => :grace) WHERE image_id = ANY(ARRAY(
        SELECT o.image_id FROM outbox o JOIN images i ON i.uuid = o.image_id
        WHERE i.status IN ('succeeded', 'failed') AND o.ended_at < now() - make_interval(secs => :grace)
        AND (o.retry_at IS NULL OR o.retry_at < coalesce(:before, now()))
        ORDER BY o.retry_at NULLS FIRST LIMIT :batch FOR UPDATE OF o SKIP LOCKED))
    RETURNING image_id AS uuid
"""
DEFER_CLEANUP = """
    UPDATE images SET retry_at = now() + make_interval(secs => :grace) WHERE uuid = ANY(ARRAY(
        SELECT uuid FROM images WHERE deleted_at IS NOT NULL AND cleaned_up_at IS NULL
        AND (lease_until IS NULL OR lease_until < now()) AND (retry_at IS NULL OR retry_at < coalesce(:before, now()))
        ORDER BY retry_at NULLS FIRST LIMIT :batch FOR UPDATE SKIP LOCKED))
    RETURNING uuid
"""
