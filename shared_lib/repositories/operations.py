"""The state of the service for a tenant, from its rows. Each statement takes milliseconds with a million images.

Totals come from kept counts or from the ends of indexes. What happened lately is read of the last hour, and of so many
attempts at most.
"""

from collections.abc import Mapping
from typing import Any

from shared_lib.database.connection import Database
from shared_lib.domain.images import ImageStatus
from shared_lib.domain.operations import (
    AttemptCount,
    DeadLetterCount,
    Distribution,
    Percentiles,
    ReconciliationState,
    Repair,
    Summary,
)
from shared_lib.repositories.pages import ALL
from shared_lib.repositories.rows import OF_TENANT

SAMPLE = 10_000
"""Attempts that are counted at most, the newest first."""

TIMED = 1_000
"""Attempts whose images are looked up at most, to measure how long they took."""

MAX_COUNTED = 100_000
"""Rows without kept counts that are counted at most."""

_COUNT_IMAGES = """
    SELECT status, CAST(sum(change) AS bigint) AS total FROM {image_counts}
    WHERE {of_tenant} AND collection_id = :all GROUP BY status
    UNION ALL
    SELECT 'awaiting_upload', count(*) FROM (SELECT 1 FROM {images}
        WHERE {of_tenant} AND deleted_at IS NULL AND status = 'awaiting_upload' LIMIT :most) awaited
"""
_OLDEST_PENDING = """
    SELECT CAST(extract(epoch FROM now() - min(queued_at)) AS float8) AS seconds
    FROM {images} WHERE {of_tenant} AND deleted_at IS NULL AND status = 'pending'
"""
_OLDEST_PROCESSING = """
    SELECT CAST(extract(epoch FROM now() - min(a.started_at)) AS float8) AS seconds
    FROM (SELECT uuid, fence FROM {images} WHERE {of_tenant} AND deleted_at IS NULL AND status = 'processing') i
    JOIN {processing_attempts} a ON a.image_id = i.uuid AND a.fence = i.fence
"""
_RECENT_ATTEMPTS = """
    SELECT image_id, started_at, ended_at, outcome, reason FROM {processing_attempts}
    WHERE {of_tenant} AND started_at > now() - interval '1 hour' ORDER BY started_at DESC LIMIT :sample
"""
_COUNT_ATTEMPTS = f"""
    SELECT outcome, reason, count(*) AS count FROM ({_RECENT_ATTEMPTS}) recent WHERE outcome IS NOT NULL
    GROUP BY outcome, reason ORDER BY count DESC, outcome, reason LIMIT 50
"""
_PUBLISHED = f"""
    SELECT CAST(extract(epoch FROM a.ended_at - i.queued_at) AS float8) AS seconds
    FROM ({_RECENT_ATTEMPTS}) a JOIN {{images}} i ON i.uuid = a.image_id
    WHERE a.outcome = 'succeeded' AND i.queued_at < a.ended_at
"""
_PUBLISH_SECONDS = f"""
    SELECT percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY seconds) AS percentiles
    FROM ({_PUBLISHED}) published
"""
_DISTRIBUTE = f"""
    SELECT width_bucket(seconds, CAST(:bounds AS float8[])) AS bucket, count(*) AS count, sum(seconds) AS seconds
    FROM ({_PUBLISHED}) published GROUP BY bucket
"""
_LIST_SIZES = "SELECT tenant_id, bytes FROM all_gallery_sizes ORDER BY bytes DESC, tenant_id"
_COUNT_DEAD_LETTERS = """
    SELECT (SELECT count(*) FROM (SELECT 1 FROM {dead_letters} WHERE {of_tenant} LIMIT :most) kept) AS total,
           (SELECT count(*) FROM (SELECT 1 FROM {dead_letters}
                                  WHERE {of_tenant} AND received_at > now() - interval '1 hour'
                                  LIMIT :most) recent) AS last_hour,
           (SELECT max(received_at) FROM {dead_letters} WHERE {of_tenant}) AS newest_at
"""
_OLDEST_UNLINKED = """
    SELECT CAST(coalesce(extract(epoch FROM now() - min(waiting_since)), 0) AS float8) AS seconds FROM audit_unlinked
"""
_TABLES = ("images", "processing_attempts", "dead_letters", "image_counts")
# Repairs are those of the whole installation. Tenants besides the operator's see that it runs.
_LIST_COUNTS = """
    SELECT kind, total, last_at FROM reconciliation_counts
    WHERE coalesce(CAST(:tenant AS text), 'default') = 'default' OR kind IN ('run', 'failed_run') ORDER BY kind
"""
_ADD_COUNTS = """
    INSERT INTO reconciliation_counts (kind, total, last_at)
    SELECT kind, total, now() FROM unnest(CAST(:kinds AS text[]), CAST(:totals AS bigint[])) AS made (kind, total)
    ORDER BY kind
    ON CONFLICT (kind) DO UPDATE SET total = reconciliation_counts.total + excluded.total, last_at = excluded.last_at
"""
_RUN, _FAILED_RUN = "run", "failed_run"


class Operations:
    def __init__(self, database: Database) -> None:
        self._database = database

    def summarize(self) -> Summary:
        """Return the state for the caller's tenant, or that of the whole service for nobody in particular."""
        prefix = "" if self._database.tenant else "all_"  # views that show counts and times of all tenants
        names = {"of_tenant": OF_TENANT} | {name: f"{prefix}{name}" for name in _TABLES}
        with self._database.transaction(snapshot=True) as tx:
            images = tx.queue(_COUNT_IMAGES.format(**names), all=ALL, most=MAX_COUNTED)
            pending = tx.queue(_OLDEST_PENDING.format(**names))
            processing = tx.queue(_OLDEST_PROCESSING.format(**names))
            attempts = tx.queue(_COUNT_ATTEMPTS.format(**names), sample=SAMPLE)
            published = tx.queue(_PUBLISH_SECONDS.format(**names), sample=TIMED)
            letters = tx.queue(_COUNT_DEAD_LETTERS.format(**names), most=MAX_COUNTED)
            counts = tx.last(_LIST_COUNTS)
        found = {row["status"]: row["total"] for row in images}
        percentiles = published[0]["percentiles"]
        return Summary(
            images={status.value: found.get(status.value, 0) for status in ImageStatus},
            oldest_pending_seconds=pending[0]["seconds"],
            oldest_processing_seconds=processing[0]["seconds"],
            attempts=tuple(AttemptCount(**row) for row in attempts),
            publish_seconds=percentiles and Percentiles(*percentiles),
            dead_letters=DeadLetterCount(**letters[0]),
            reconciliation=_to_reconciliation(counts),
        )

    def distribute(self, bounds: tuple[float, ...]) -> Distribution:
        """Return how long images of the last hour took from being queued until they were published, of all tenants."""
        sql = _DISTRIBUTE.format(of_tenant=OF_TENANT, **{name: f"all_{name}" for name in _TABLES})
        with self._database.transaction() as tx:
            rows = tx.last(sql, sample=TIMED, bounds=list(bounds))
        counts = [0] * (len(bounds) + 1)
        for row in rows:
            counts[row["bucket"]] = row["count"]
        return Distribution(tuple(counts), sum(row["seconds"] for row in rows))

    def list_sizes(self) -> list[tuple[str, int]]:
        """Return each tenant and its bytes in the gallery as of the last comparison, the largest first."""
        with self._database.transaction() as tx:
            return [(row["tenant_id"], row["bytes"]) for row in tx.last(_LIST_SIZES)]

    def measure_unlinked(self) -> float:
        """Return how long the oldest audit record without a link has waited, s. 0: none waits."""
        with self._database.transaction() as tx:
            seconds: float = tx.last(_OLDEST_UNLINKED)[0]["seconds"]
        return seconds

    def record_run(self, repairs: Mapping[str, int], *, failed: bool) -> None:
        """Add a run of reconciliation and its repairs to the counts."""
        made = {**repairs, _RUN: 1} | ({_FAILED_RUN: 1} if failed else {})
        with self._database.transaction() as tx:
            tx.rows(_ADD_COUNTS, kinds=list(made), totals=list(made.values()))


def _to_reconciliation(rows: list[dict[str, Any]]) -> ReconciliationState:
    counts = {row["kind"]: Repair(**row) for row in rows}
    run, failed_run = counts.pop(_RUN, None), counts.pop(_FAILED_RUN, None)
    return ReconciliationState(
        runs=run.total if run else 0,
        failed_runs=failed_run.total if failed_run else 0,
        last_run_at=run.last_at if run else None,
        repairs=tuple(counts.values()),
    )
