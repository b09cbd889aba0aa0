"""Measure lists, searches and collections with a million images.

    python -m benchmarks.million_rows [--images 1000000] [--data FOLDER] [--rounds 7]

Start only PostgreSQL, fill it by SQL unless the folder has data, and call the functions in this process. 97 % of the
images have succeeded, 2 % have failed, and 1 % await their upload. Every tenth is in one collection. The word "harbor"
is in every third description.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import functions_framework
from alembic import command
from flask.testing import FlaskClient
from pg8000.native import Connection

from infra.local import postgres
from infra.local.processes import Supervisor
from infra.local.settings import Settings
from shared_lib import settings
from shared_lib.commands.bootstrap import alembic_config

ROOT = Path(__file__).parent.parent
COLLECTION = "00000000-0000-4000-8000-000000000001"
UNUSED = {  # required settings that no request here uses
    "S3_ENDPOINT_URL": "http://127.0.0.1:1",
    "S3_ACCESS_KEY_ID": "none",
    "S3_SECRET_ACCESS_KEY": "none",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "LOG_LEVEL": "error",
}
BATCH = 100_000  # rows per transaction

IMAGES = """
INSERT INTO images (uuid, filename, description, status, created_at, completed_at, content_type, size_bytes,
                    width, height, failure_code, failure_message, thumbnail, thumbnail_type, original_key, sha256,
                    announced, metadata, perceptual_hash, collection_id)
SELECT ('00000000-0000-4000-9000-' || lpad(to_hex(n), 12, '0'))::uuid, 'photo-' || n || '.jpg',
       CASE n % 3 WHEN 0 THEN 'The harbor at dawn, number ' || n
                  WHEN 1 THEN 'A street in the rain, ' || digest END,
       status, timestamptz '2026-01-01' + n * interval '1 s', CASE WHEN status <> 'awaiting_upload' THEN now() END,
       'image/jpeg', 174351, 1600, 1200, CASE status WHEN 'failed' THEN 'corrupt_image' END,
       CASE status WHEN 'failed' THEN 'The image is damaged' END,
       CASE status WHEN 'succeeded' THEN decode(repeat(digest, 20), 'hex') END, 'image/jpeg',
       'originals/' || digest || digest || '.jpg', digest || digest, true,
       jsonb_build_object('frames', 1, 'hasAlpha', false, 'colorSpace', 'srgb', 'bitDepth', 8, 'cameraMake', 'Camera',
                          'palette', jsonb_build_array(jsonb_build_object('color', '#b5651d', 'share', 0.4),
                                                       jsonb_build_object('color', '#203040', 'share', 0.3)),
                          'thumbHash', left(digest, 24), 'blurHash', left(digest, 28),
                          'perceptualHash', left(digest, 16)),
       ('x' || left(digest, 16))::bit(64),
       CASE WHEN n % 10 = 0 AND status <> 'awaiting_upload' THEN CAST(:collection AS uuid) END
FROM (SELECT n, md5(n::text) AS digest,
             CASE WHEN n % 100 < 97 THEN 'succeeded' WHEN n % 100 < 99 THEN 'failed'
                  ELSE 'awaiting_upload' END AS status
      FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n) AS numbers
"""
RENDITIONS = """
INSERT INTO renditions (image_id, name, recipe_hash, key, content_type, width, height, size_bytes)
SELECT uuid, 'thumbnail', md5('thumbnail'), uuid || '/' || left(sha256, 32) || '/' || md5('thumbnail') || '.jpg',
       'image/jpeg', 100, 100, 3121
FROM images WHERE status = 'succeeded'
"""

REQUESTS = {
    "list, page 1": ("list_images", "/api/v1/images?limit=100"),
    "list, page 10,000 x 10": ("list_images", "/api/v1/images?page=10000&limit=10"),
    "list, the middle x 100": ("list_images", "/api/v1/images?page=4900&limit=100"),
    "list, last page x 100": ("list_images", "/api/v1/images?page=9700&limit=100"),
    "list, beyond the last page": ("list_images", "/api/v1/images?page=1000000&limit=100"),
    "status=failed": ("list_images", "/api/v1/images?status=failed&limit=100"),
    "status=pending, none": ("list_images", "/api/v1/images?status=pending"),
    "status=all": ("list_images", "/api/v1/images?status=all&limit=100"),
    "search, common": ("list_images", "/api/v1/images?search=harbor&limit=100"),
    "search, common, page 99": ("list_images", "/api/v1/images?search=harbor&limit=100&page=99"),
    "search, rare": ("list_images", "/api/v1/images?search=photo-99999"),
    "search, absent": ("list_images", "/api/v1/images?search=not-in-any-image"),
    "search, two letters, common": ("list_images", "/api/v1/images?search=st"),
    "search, two letters, absent": ("list_images", "/api/v1/images?search=%C3%A4q"),
    "collection of 100,000, page 1": ("get_collection", f"/api/v1/collections/{COLLECTION}?limit=100"),
    "collection, page 5,000 x 10": ("get_collection", f"/api/v1/collections/{COLLECTION}?page=5000&limit=10"),
    "collection, last page": ("get_collection", f"/api/v1/collections/{COLLECTION}?page=9900&limit=10"),
    "collection by filename": ("get_collection", f"/api/v1/collections/{COLLECTION}?sortBy=filename"),
    "collection by status": ("get_collection", f"/api/v1/collections/{COLLECTION}?sortBy=status"),
    "collection, search, common": ("get_collection", f"/api/v1/collections/{COLLECTION}?search=harbor"),
    "collection, search, rare": ("get_collection", f"/api/v1/collections/{COLLECTION}?search=photo-5000.jpg"),
    "collections": ("list_collections", "/api/v1/collections"),
    "one image": ("get_image", "/api/v1/images/00000000-0000-4000-9000-0000000003e8"),
    "similar": ("find_similar_images", "/api/v1/images/00000000-0000-4000-9000-0000000003e8/similar"),
}


@contextmanager
def serve(data: Path) -> Iterator[None]:
    """Run PostgreSQL during the block, with its address in the environment."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("w") as lock:
        supervisor = Supervisor(lock)
        try:
            local = Settings(port=5000, data_dir=data, inherited=dict(os.environ))
            os.environ.update(UNUSED | postgres.start(supervisor, local, data / "postgres.log"))
            yield
        finally:
            supervisor.stop()


def seed(connection: Connection, images: int) -> None:
    connection.run("INSERT INTO collections (uuid, name) VALUES (CAST(:uuid AS uuid), 'Large')", uuid=COLLECTION)
    for first in range(1, images + 1, BATCH):
        connection.run(IMAGES, collection=COLLECTION, first=first, last=min(first + BATCH - 1, images))
        print(f"  {first + BATCH - 1:,} images", flush=True)
    connection.run(RENDITIONS)
    connection.run("VACUUM ANALYZE")


def load(name: str) -> FlaskClient:
    source = str(ROOT / "functions" / name / "main.py")
    client: FlaskClient = functions_framework.create_app("main", source).test_client()  # type: ignore[no-untyped-call]
    return client


def measure(rounds: int) -> None:
    clients = {function: load(function) for function, _ in REQUESTS.values()}
    print("\n| request | p50 ms | max ms | response |\n|---|---|---|---|")
    for request, (function, path) in REQUESTS.items():
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            response = clients[function].get(path)
            times.append((time.perf_counter() - began) * 1000)
        total = response.headers.get("X-Total-Count")
        summary = f"{response.status_code}" + (f", {int(total):,} in all" if total else "")
        print(f"| {request} | {statistics.median(times):,.1f} | {max(times):,.1f} | {summary} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, help="folder to keep and reuse")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, serve(options.data or Path(scratch)):
        loaded = settings.load()
        began = time.perf_counter()
        command.upgrade(alembic_config(loaded), "head")
        print(f"migrated in {time.perf_counter() - began:.1f} s")
        socket = loaded.database.url.get_secret_value().rpartition("host=")[2]
        with Connection("postgres", database=postgres.DATABASE, unix_sock=f"{socket}/.s.PGSQL.5432") as connection:
            if not connection.run("SELECT 1 FROM images LIMIT 1"):
                began = time.perf_counter()
                seed(connection, options.images)
                print(f"filled in {time.perf_counter() - began:.1f} s")
        measure(options.rounds)


if __name__ == "__main__":
    main()
