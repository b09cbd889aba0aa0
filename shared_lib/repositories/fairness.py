"""Choose among images that wait, so that one tenant's backlog does not delay another's."""

import time
from typing import NamedTuple
from uuid import UUID

from shared_lib.database.connection import Database
from shared_lib.database.driver import Prepared
from shared_lib.repositories.rows import UNFINISHED_IMAGE

PATIENCE_SECONDS = 0.1
"""Most images are claimed by their own event within this time."""
_PAUSE_SECONDS = 0.05
"""After a look in vain: a tenant that is alone does not pay for one with each image."""
_ATTEMPTS = 200
"""The latest attempts, of which each tenant's share is compared."""
_TENANTS = 64
"""Tenants that are compared at most. Every event also processes its own image, so none depends on this."""
_MOST = 4
# Of each tenant with unfinished images its next one is looked up in the index, however many there are. They are read
# in the order of their names, from that of the image on, and then from the first.
_LIST_WAITING = Prepared(f"""
    WITH RECURSIVE recent AS MATERIALIZED (
        SELECT tenant_id, sum(extract(epoch FROM coalesce(ended_at, now()) - started_at)) AS seconds FROM (
            SELECT tenant_id, started_at, ended_at FROM processing_attempts
            WHERE started_at > now() - interval '1 minute' ORDER BY started_at DESC LIMIT {_ATTEMPTS}) latest
        GROUP BY tenant_id
    ), own AS MATERIALIZED (
        SELECT recent.tenant_id, recent.seconds FROM images JOIN recent USING (tenant_id) WHERE images.uuid = :uuid
    ), ring (tenant_id, has_wrapped, position) AS (
        SELECT tenant_id, false, 0 FROM own
        UNION ALL
        SELECT coalesce(following.tenant_id, beginning.tenant_id), has_wrapped OR following.tenant_id IS NULL,
               position + 1
        FROM ring CROSS JOIN own
        LEFT JOIN LATERAL (SELECT i.tenant_id FROM images i WHERE {UNFINISHED_IMAGE} AND i.tenant_id > ring.tenant_id
                           ORDER BY i.tenant_id LIMIT 1) following ON true
        LEFT JOIN LATERAL (SELECT i.tenant_id FROM images i WHERE {UNFINISHED_IMAGE} AND following.tenant_id IS NULL
                           ORDER BY i.tenant_id LIMIT 1) beginning ON true
        WHERE position < {_TENANTS} AND NOT (has_wrapped AND ring.tenant_id >= own.tenant_id)
    )
    SELECT waiting.uuid, ring.tenant_id AS tenant, waiting.original_key, waiting.status = 'succeeded' AS succeeded
    FROM ring CROSS JOIN own LEFT JOIN recent ON recent.tenant_id = ring.tenant_id
    CROSS JOIN LATERAL (
        SELECT i.uuid, i.original_key, i.status, i.queued_at FROM images i
        WHERE i.tenant_id = ring.tenant_id AND {UNFINISHED_IMAGE} AND i.due_at IS NOT NULL AND i.lease_until IS NULL
        AND i.status IN ('pending', 'succeeded') AND i.queued_at < now() - make_interval(secs => {PATIENCE_SECONDS})
        AND NOT EXISTS (SELECT 1 FROM processing_attempts WHERE image_id = i.uuid AND started_at >= i.queued_at)
        ORDER BY i.due_at LIMIT 2
    ) waiting
    WHERE ring.tenant_id <> own.tenant_id AND coalesce(recent.seconds, 0) < own.seconds
    ORDER BY coalesce(recent.seconds, 0), waiting.queued_at LIMIT {_MOST}
""")


class Waiting(NamedTuple):
    """An image that nobody has tried to process yet."""

    uuid: UUID
    tenant: str
    original_key: str | None
    succeeded: bool
    """It waits for further renditions."""


class Fairness:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._has_backlog = False
        self._asked_in_vain = -_PAUSE_SECONDS

    def note_wait(self, seconds: float) -> None:
        """Note how long the latest image waited. If others wait no longer, there is nothing to choose from."""
        self._has_backlog = seconds > PATIENCE_SECONDS

    def list_waiting(self, uuid: UUID) -> list[Waiting]:
        """Return images that come before this one, of those that have waited for longer than events usually take.

        Processors have worked less for their tenants lately than for this one's. Those with the least come first.
        """
        if not self._has_backlog or time.monotonic() < self._asked_in_vain + _PAUSE_SECONDS:
            return []
        with self._database.transaction() as tx:
            rows = tx.last(_LIST_WAITING, uuid=uuid)
        if not rows:
            self._asked_in_vain = time.monotonic()
        return [Waiting(**row) for row in rows]
