"""Measure the statements behind the state metrics and the operations summary with a million images.

    python -m benchmarks.state_queries [--images 1000000] [--data FOLDER] [--rounds 30]

Before, let an hour have been busy: 20,000 attempts, 5,000 pending images, 100,000 dead letters, 1,000 tenants. All
tenants are read at once, as report_state does. Times are those that PostgreSQL logs.
"""

import argparse
import re
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from alembic import command
from pg8000.native import Connection

from benchmarks.million_rows import serve
from benchmarks.seed import seed
from infra.local import postgres
from shared_lib import metrics, settings
from shared_lib.commands.bootstrap import alembic_config
from shared_lib.database.connection import Database
from shared_lib.repositories.operations import Operations

LIMIT_MS = 50
DURATION = re.compile(r"duration: ([\d.]+) ms  \w+ [^:]*: (.*?)(?=\n\S*\d{4}-|\Z)", re.DOTALL)
BUSY = (
    """
    UPDATE processing_attempts SET started_at = now() - random() * interval '50 min', ended_at = now()
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM processing_attempts ORDER BY started_at DESC LIMIT 20000))
    """,
    """
    UPDATE images SET queued_at = now() - interval '1 h' WHERE uuid = ANY(ARRAY(
        SELECT image_id FROM processing_attempts WHERE started_at > now() - interval '1 h'))
    """,
    """
    UPDATE images SET status = 'pending', queued_at = now() - random() * interval '1 h', completed_at = NULL,
                      failure_code = NULL, failure_message = NULL
    WHERE uuid = ANY(ARRAY(SELECT uuid FROM images WHERE status = 'failed' AND deleted_at IS NULL LIMIT 5000))
    """,
    """
    INSERT INTO dead_letters (event_source, event_id, event_type, code, reason, received_at)
    SELECT 'bench', n, 'bench', 503, 'bench', now() - random() * interval '30 days' FROM generate_series(1, 100000) n
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO gallery_sizes (tenant_id, bytes) SELECT 'tenant-' || n, n FROM generate_series(1, 1000) AS n
    ON CONFLICT DO NOTHING
    """,
    "VACUUM ANALYZE processing_attempts, dead_letters, images",
)


def measure(log: Path, operations: Operations, rounds: int) -> dict[str, list[float]]:
    """Return how long each statement took in each round, in ms, by its text. PostgreSQL logs it."""
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        before = log.stat().st_size
        operations.summarize()
        operations.distribute(metrics.PUBLISH_SECONDS.bounds)
        operations.list_sizes()
        time.sleep(0.05)  # the log is written a moment later
        spent: dict[str, float] = defaultdict(float)
        for milliseconds, statement in DURATION.findall(log.read_bytes()[before:].decode()):
            spent[" ".join(statement.split())] += float(milliseconds)  # to parse, to bind and to execute it
        for statement, total in spent.items():
            times[statement].append(total)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, help="folder to keep and reuse")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, serve(options.data or Path(scratch)) as log:
        loaded = settings.load()
        command.upgrade(alembic_config(loaded), "head")
        socket = loaded.database.url.get_secret_value().rpartition("host=")[2]
        with Connection("postgres", database=postgres.DATABASE, unix_sock=f"{socket}/.s.PGSQL.5432") as admin:
            if not admin.run("SELECT 1 FROM images LIMIT 1"):
                seed(admin, options.images)
            for statement in BUSY:
                admin.run(statement)
            admin.run("ALTER DATABASE images SET log_min_duration_statement = 0")
        database = Database(loaded.database)
        operations = Operations(database)
        operations.summarize()
        times = measure(log, operations, options.rounds)
        print("| statement | p50 ms | p95 ms |\n|---|---|---|")
        for statement, each in times.items():
            p50, p95 = statistics.median(each), statistics.quantiles(each, n=20)[18]
            print(f"| {statement[:90]} | {p50:.1f}{' **too slow**' if p50 > LIMIT_MS else ''} | {p95:.1f} |")
        database.disconnect()


if __name__ == "__main__":
    main()
