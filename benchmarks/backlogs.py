"""Measure reconciliation with backlogs: repeated requests, items that block others, time and memory.

    python -m benchmarks.backlogs [--keys 1000000] [--comparison]

Start the service with an empty data folder, and run ticks in this process like the function does:

* 3,000 presigned uploads wait without an event: how often is each one requested in three ticks?
* One of 2,000 objects can be neither read nor moved: how many of the others are adopted?
* 20 deleted images whose cleanup fails come before 480 others: how many of those are cleaned up?
* The gallery and the database have `--keys` keys, a few of them without a counterpart: what does the comparison find,
  in how many ticks and how much time, and what is the peak memory of its process?

Rows are written by SQL, and objects through S3. A million takes long. A smaller number shows the same memory.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

from kafka import KafkaConsumer, TopicPartition

from shared_lib.events import TASKS
from shared_lib.runtime import Runtime, current
from shared_lib.storage.sdk import make_client
from shared_lib.storage.setup import StoreSetup

ROOT = Path(__file__).parent.parent
PORT = 5081
INBOX = "quiet-images"  # without an event source
GRACE_SECONDS = 60  # at most the duration of three ticks
ORPHANED, MISSING = 10, 10  # keys without a row, and without an object


@contextmanager
def serve(data: Path) -> Iterator[dict[str, str]]:
    """Run the service during the block, and yield its environment."""
    environ = os.environ | {"PORT": str(PORT), "DATA_DIR": str(data), "LOG_LEVEL": "warning"}
    with (data / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "infra.local"], cwd=ROOT, env=environ, stdout=log, stderr=log)
    try:
        while b"Ready after" not in (data / "log").read_bytes():
            assert process.poll() is None, (data / "log").read_text()
            time.sleep(0.2)
        lines = (data / "environment").read_text().splitlines()
        yield {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}
    finally:
        process.terminate()
        process.wait(60)


def put_all(rt: Runtime, keys: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: rt.inbox.put(key, b"x", "image/jpeg"), keys))


def count(rt: Runtime, images: list[UUID], condition: str = "true") -> int:
    sql = f"SELECT 1 FROM images WHERE uuid = ANY(CAST(:images AS uuid[])) AND {condition}"  # noqa: S608  constants only
    with rt.database.transaction() as tx:
        return len(tx.rows(sql, images=images))


def clear(rt: Runtime, images: list[UUID]) -> None:
    rt.inbox.delete(*(each.key for each in rt.inbox.list()))
    with rt.database.transaction() as tx:
        tx.rows("DELETE FROM images WHERE uuid = ANY(CAST(:images AS uuid[]))", images=images)


def request_waiting_uploads(rt: Runtime) -> None:
    images = [uuid4() for _ in range(3000)]
    for uuid in images:
        rt.images.reserve(uuid, "waits.jpg")
    put_all(rt, list(map(str, images)))
    processing = rt.settings.processing.model_copy(update={"pending_grace_seconds": GRACE_SECONDS})
    time.sleep(GRACE_SECONDS)
    consumer = KafkaConsumer(bootstrap_servers=rt.settings.kafka.bootstrap_servers, consumer_timeout_ms=5000)
    consumer.assign([TopicPartition(TASKS, each) for each in consumer.partitions_for_topic(TASKS)])
    consumer.seek_to_end()
    for partition in consumer.assignment():
        consumer.position(partition)
    began = time.monotonic()
    recovery = replace(rt.reconciliation.recovery, settings=processing)
    repairs = [replace(rt.reconciliation, recovery=recovery).run() for _ in range(3)]
    took = time.monotonic() - began
    requests = Counter(UUID(message.key.decode()) for message in consumer)
    consumer.close()
    most = max(requests[uuid] for uuid in images)
    print(f"3,000 waiting uploads, three ticks in {took:.0f} s, grace {GRACE_SECONDS} s: {repairs}")
    print(f"  requested: {sum(requests[uuid] > 0 for uuid in images)}, each at most {most} times", flush=True)
    assert most <= 1 + took // GRACE_SECONDS
    assert not any("adopted" in each for each in repairs)
    clear(rt, images)


def adopt_beside_one_unreadable(rt: Runtime) -> None:
    images = [uuid4() for _ in range(1999)]
    make_client(rt.settings.store).put_object(
        Bucket=rt.inbox.name, Key="000.jpg", Body=b"x", SSECustomerKey="k" * 32, SSECustomerAlgorithm="AES256"
    )
    put_all(rt, list(map(str, images)))
    time.sleep(1.1)
    began, ticks = time.monotonic(), 0
    while count(rt, images) < len(images) and ticks < 10:
        repairs = rt.reconciliation.run()
        ticks += 1
    print(f"One unreadable object among 2,000: {ticks} ticks in {time.monotonic() - began:.0f} s, the last: {repairs}")
    print(f"  adopted: {count(rt, images)} of the other 1,999", flush=True)
    assert count(rt, images) == len(images)
    clear(rt, images)


def clean_up_behind_failures(rt: Runtime) -> None:
    def delete(number: int, columns: str) -> list[UUID]:
        images = [uuid4() for _ in range(number)]
        with rt.database.transaction() as tx:
            tx.rows(
                f"""INSERT INTO images (uuid, filename, status, deleted_at, original_key)
                    SELECT uuid, '', 'pending', {columns} FROM unnest(CAST(:images AS uuid[])) AS uuid""",  # noqa: S608
                images=images,
            )
        return images

    rt.reconciliation.run()  # the rest of the steps before
    stuck = delete(20, "now() - interval '1 day', '..'")  # a key that the store rejects
    others = delete(480, "now(), NULL")
    repairs = rt.reconciliation.run()
    print(f"480 deleted images behind 20 whose cleanup fails: {repairs}")
    print(f"  cleaned up: {count(rt, others, 'cleaned_up_at IS NOT NULL')} of the 480")
    assert count(rt, others, "cleaned_up_at IS NOT NULL") == len(others)
    clear(rt, stuck + others)


def name_keys(number: int) -> Iterator[str]:
    """Yield two keys for each image, as the service and the SQL below name them."""
    for each in range(number):
        digest = hashlib.md5(str(each).encode()).hexdigest()  # noqa: S324  not for security
        uuid = UUID(digest)
        yield f"originals/{digest}{digest}.jpg"
        yield f"{uuid}/{digest}/{digest[:16]}.jpg"


def fill_database(rt: Runtime, images: int) -> None:
    for first in range(0, images, 5_000):
        span = {"first": first, "last": min(first + 5_000, images) - 1}
        with rt.database.transaction() as tx:
            tx.rows("SET LOCAL session_replication_role = replica")  # no triggers: counts leave these out
            tx.rows("SET LOCAL statement_timeout = 0")
            tx.rows(
                """INSERT INTO images (uuid, filename, status, completed_at, original_key)
                   SELECT md5(n::text)::uuid, 'many.jpg', 'succeeded', now(),
                          'originals/' || md5(n::text) || md5(n::text) || '.jpg'
                   FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n""",
                **span,
            )
            tx.rows(
                """INSERT INTO renditions (image_id, name, recipe_hash, key, content_type, width, height, size_bytes)
                   SELECT md5(n::text)::uuid, 'thumbnail', '', md5(n::text)::uuid || '/' || md5(n::text) || '/' ||
                          left(md5(n::text), 16) || '.jpg', 'image/jpeg', 1, 1, 1
                   FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n""",
                **span,
            )


def fill_store(rt: Runtime, keys: list[str]) -> None:
    """Write objects of one byte through S3, the only way into the store."""
    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(lambda key: rt.gallery.put(key, b"x", "image/jpeg"), keys):
            pass


def compare(keys: int) -> None:
    """Compare gallery and database. Call this in a process of its own, to measure its memory."""
    rt = current()
    at_once = replace(rt.reconciliation, comparison=replace(rt.reconciliation.comparison, settling=timedelta(0)))
    began, ticks, found = time.monotonic(), 0, Counter[str]()
    rt.drift.begin_scan(rt.gallery.name)
    while rt.drift.read_position(rt.gallery.name) is not None:
        found.update(at_once.run())
        ticks += 1
    # Not ru_maxrss: a new process inherits that from its parent, which has every key in memory.
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) // 1024
    print(f"Comparison of {keys:,} keys: {ticks} ticks, {time.monotonic() - began:.0f} s, {dict(found)}")
    print(f"  peak memory of its process: {peak} MiB")
    assert (found["orphan_removed"], found["object_missing"]) == (ORPHANED, MISSING)
    assert peak <= 150


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--keys", type=int, default=1_000_000, help="in the gallery (default: %(default)s)")
    options.add_argument("--comparison", action="store_true", help="only run the comparison")
    options.add_argument("--compare", action="store_true", help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.compare:
        compare(arguments.keys)
        return
    with tempfile.TemporaryDirectory(prefix="backlogs-") as folder, serve(Path(folder)) as environ:
        os.environ.update(environ | {"S3_UPLOAD_BUCKET": INBOX, "PROCESSING_PENDING_GRACE_SECONDS": "0.01"})
        os.environ["LOG_LEVEL"] = "error"
        rt = current()
        StoreSetup(rt.settings.store).create_buckets()
        if not arguments.comparison:
            request_waiting_uploads(rt)
            adopt_beside_one_unreadable(rt)
            clean_up_behind_failures(rt)
        keys = list(name_keys(arguments.keys // 2))
        began = time.monotonic()
        fill_database(rt, arguments.keys // 2)
        orphaned = (f"originals/{uuid4()}.jpg" for _ in range(ORPHANED))
        fill_store(rt, [*keys[MISSING:], *orphaned])
        print(f"{arguments.keys:,} keys written in {time.monotonic() - began:.0f} s", flush=True)
        subprocess.run(
            [sys.executable, "-m", "benchmarks.backlogs", "--compare", "--keys", str(arguments.keys)], check=True
        )
        rt.broker.close()


if __name__ == "__main__":
    main()
