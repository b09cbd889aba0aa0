"""How reconciliation takes backlogs: how often it asks, whether anything is in its way, how much memory it needs.

    python -m benchmarks.backlogs [--keys 1000000] [--comparison]

Starts the service with an empty data folder, and runs ticks in a process of its own, as the function does:

* 3,000 presigned uploads wait, and no event is told of them: how often each is asked for in three ticks;
* one of 2,000 objects can neither be read nor moved: how many of the others are adopted;
* 20 deleted images cannot be swept, and are met before 480 others: how many of those are swept;
* the gallery and the database hold `--keys` keys, of which a few have no counterpart: what the comparison finds, how
  many ticks and how long it takes, and the most memory that its process had.

The rows are written by SQL, the objects through S3: a million takes long, and fewer tell as much of the memory.
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
from shared_lib.storage.setup import StoreSetup

ROOT = Path(__file__).parent.parent
PORT = 5081
INBOX = "quiet-images"  # that no event source listens to
GRACE_SECONDS = 60  # no longer than three ticks and what lies between them
STRAY, LOST = 10, 10  # keys without a row, and without an object


@contextmanager
def serve(data: Path) -> Iterator[dict[str, str]]:
    """The service, ready; its environment. Stopped at the end."""
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
    sql = f"SELECT 1 FROM images WHERE uuid = ANY(CAST(:images AS uuid[])) AND {condition}"  # noqa: S608  no caller's
    with rt.database.transaction() as tx:
        return len(tx.rows(sql, images=images))


def clear(rt: Runtime, images: list[UUID]) -> None:
    rt.inbox.delete(*(each.key for each in rt.inbox.list()))
    with rt.database.transaction() as tx:
        tx.rows("DELETE FROM images WHERE uuid = ANY(CAST(:images AS uuid[]))", images=images)


def ask_for_waiting_uploads(rt: Runtime) -> None:
    images = [uuid4() for _ in range(3000)]
    for uuid in images:
        rt.images.reserve(uuid, "waits.jpg")
    put_all(rt, list(map(str, images)))
    patient = rt.settings.processing.model_copy(update={"pending_grace_seconds": GRACE_SECONDS})
    time.sleep(GRACE_SECONDS)
    consumer = KafkaConsumer(bootstrap_servers=rt.settings.kafka.bootstrap_servers, consumer_timeout_ms=5000)
    consumer.assign([TopicPartition(TASKS, each) for each in consumer.partitions_for_topic(TASKS)])
    consumer.seek_to_end()
    for partition in consumer.assignment():
        consumer.position(partition)
    began = time.monotonic()
    repairs = [replace(rt.reconciliation, settings=patient).run(everything=False) for _ in range(3)]
    took = time.monotonic() - began
    asked = Counter(UUID(message.key.decode()) for message in consumer)
    consumer.close()
    most = max(asked[uuid] for uuid in images)
    print(f"3,000 waiting uploads, three ticks in {took:.0f} s, grace {GRACE_SECONDS} s: {repairs}")
    print(f"  asked for: {sum(asked[uuid] > 0 for uuid in images)}, each at most {most} times", flush=True)
    assert most <= 1 + took // GRACE_SECONDS
    assert not any("adopted" in each for each in repairs)
    clear(rt, images)


def adopt_beside_one_unreadable(rt: Runtime) -> None:
    images = [uuid4() for _ in range(1999)]
    rt.store.client.put_object(
        Bucket=rt.inbox.name, Key="000.jpg", Body=b"x", SSECustomerKey="k" * 32, SSECustomerAlgorithm="AES256"
    )
    put_all(rt, list(map(str, images)))
    time.sleep(1.1)
    began, ticks = time.monotonic(), 0
    while count(rt, images) < len(images) and ticks < 10:
        repairs = rt.reconciliation.run(everything=False)
        ticks += 1
    print(f"One unreadable object among 2,000: {ticks} ticks in {time.monotonic() - began:.0f} s, the last: {repairs}")
    print(f"  adopted: {count(rt, images)} of the other 1,999", flush=True)
    assert count(rt, images) == len(images)
    clear(rt, images)


def sweep_behind_unsweepable(rt: Runtime) -> None:
    def delete(number: int, columns: str) -> list[UUID]:
        images = [uuid4() for _ in range(number)]
        with rt.database.transaction() as tx:
            tx.rows(
                f"""INSERT INTO images (uuid, filename, status, deleted_at, original_key)
                    SELECT uuid, '', 'pending', {columns} FROM unnest(CAST(:images AS uuid[])) AS uuid""",  # noqa: S608
                images=images,
            )
        return images

    rt.reconciliation.run(everything=False)  # what the others left behind
    stuck = delete(20, "now() - interval '1 day', '..'")  # a key that the store refuses
    others = delete(480, "now(), NULL")
    repairs = rt.reconciliation.run(everything=False)
    print(f"480 deleted images behind 20 that cannot be swept: {repairs}")
    print(f"  swept: {count(rt, others, 'cleaned_up_at IS NOT NULL')} of the 480")
    assert count(rt, others, "cleaned_up_at IS NOT NULL") == len(others)
    clear(rt, stuck + others)


def name_keys(number: int) -> Iterator[str]:
    """Two keys an image, as the service names them; SQL says the same."""
    for each in range(number):
        digest = hashlib.md5(str(each).encode()).hexdigest()  # noqa: S324  no secret
        uuid = UUID(digest)
        yield f"originals/{digest}{digest}.jpg"
        yield f"{uuid}/{digest}/{digest[:16]}.jpg"


def fill_database(rt: Runtime, images: int) -> None:
    for first in range(0, images, 5_000):
        span = {"first": first, "last": min(first + 5_000, images) - 1}
        with rt.database.transaction() as tx:
            tx.rows("SET LOCAL session_replication_role = replica")  # no triggers: nobody counts these images
            tx.rows("SET LOCAL statement_timeout = 0")
            tx.rows(
                """INSERT INTO images (uuid, filename, status, completed_at, announced, original_key)
                   SELECT md5(n::text)::uuid, 'many.jpg', 'succeeded', now(), true,
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
    """Objects of one byte, through S3: nothing else of the store takes any."""
    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(lambda key: rt.gallery.put(key, b"x", "image/jpeg"), keys):
            pass


def compare(keys: int) -> None:
    """In a process that does nothing else."""
    rt = current()
    at_once = replace(rt.reconciliation, comparison=replace(rt.reconciliation.comparison, settling=timedelta(0)))
    began, ticks, found = time.monotonic(), 0, Counter[str]()
    rt.drift.begin_scan(rt.gallery.name)
    while rt.drift.read_position(rt.gallery.name) is not None:
        found.update(at_once.run(everything=False))
        ticks += 1
    # Not ru_maxrss: that of a new process is at least its parent's, which holds every key.
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) // 1024
    print(f"Comparison of {keys:,} keys: {ticks} ticks, {time.monotonic() - began:.0f} s, {dict(found)}")
    print(f"  peak memory of its process: {peak} MiB")
    assert (found["orphan_removed"], found["object_missing"]) == (STRAY, LOST)
    assert peak <= 150


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--keys", type=int, default=1_000_000, help="in the gallery (default: %(default)s)")
    options.add_argument("--comparison", action="store_true", help="only that")
    options.add_argument("--compare", action="store_true", help=argparse.SUPPRESS)
    told = options.parse_args()
    if told.compare:
        compare(told.keys)
        return
    with tempfile.TemporaryDirectory(prefix="backlogs-") as folder, serve(Path(folder)) as environ:
        os.environ.update(environ | {"S3_UPLOAD_BUCKET": INBOX, "PROCESSING_PENDING_GRACE_SECONDS": "0.01"})
        os.environ["LOG_LEVEL"] = "error"
        rt = current()
        StoreSetup(rt.store, rt.settings.store).create_buckets()
        if not told.comparison:
            ask_for_waiting_uploads(rt)
            adopt_beside_one_unreadable(rt)
            sweep_behind_unsweepable(rt)
        every = list(name_keys(told.keys // 2))
        began = time.monotonic()
        fill_database(rt, told.keys // 2)
        strays = (f"originals/{uuid4()}.jpg" for _ in range(STRAY))
        fill_store(rt, [*every[LOST:], *strays])
        print(f"{told.keys:,} keys written in {time.monotonic() - began:.0f} s", flush=True)
        subprocess.run([sys.executable, "-m", "benchmarks.backlogs", "--compare", "--keys", str(told.keys)], check=True)
        rt.broker.close()


if __name__ == "__main__":
    main()
