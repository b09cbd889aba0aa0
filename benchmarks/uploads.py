"""Measure what an image's statements cost in an empty database and in one with a million images.

    python -m benchmarks.uploads [--images 1000000] [--data FOLDER] [--uploads 200] [--rounds 5]

Start only PostgreSQL, with both databases. In turns, insert images, claim them, name their originals, publish them and
mark them as announced: all that an upload sends to the database until its success is announced. The processor time is
that of PostgreSQL's process for the connection.
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from alembic import command
from pg8000.native import Connection
from pydantic import SecretStr

from benchmarks.million_rows import ROOT, serve
from benchmarks.seed import seed
from infra.local import postgres
from shared_lib import observability, settings
from shared_lib.commands.bootstrap import alembic_config
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database
from shared_lib.domain.uploads import Original
from shared_lib.limits import Limits
from shared_lib.pipeline.recipe import THUMBNAIL
from shared_lib.pipeline.render import render
from shared_lib.pipeline.rendition import Rendered
from shared_lib.repositories.claims import Claims
from shared_lib.repositories.images import Images

PHOTO = ROOT / "tests/golden/photographs/cat.jpg"
TICKS = os.sysconf("SC_CLK_TCK")


def open_database(socket: str, name: str, images: int) -> Database:
    """Create, migrate and fill a database, unless it is there. Return it."""
    with Connection("postgres", database="postgres", unix_sock=f"{socket}/.s.PGSQL.5432") as admin:
        if not admin.run("SELECT 1 FROM pg_database WHERE datname = :name", name=name):
            admin.run(f"CREATE DATABASE {name}")
    with Connection("postgres", database=name, unix_sock=f"{socket}/.s.PGSQL.5432") as admin:
        admin.run(postgres.ROLES.read_text())
    os.environ["DATABASE_URL"] = f"postgresql://images_owner@/{name}?host={socket}"
    loaded = settings.load()
    command.upgrade(alembic_config(loaded), "head")
    with Connection("postgres", database=name, unix_sock=f"{socket}/.s.PGSQL.5432") as admin:
        if images and not admin.run("SELECT 1 FROM images LIMIT 1"):
            seed(admin, images)
    url = SecretStr(os.environ["DATABASE_URL"])
    return Database(loaded.database.model_copy(update={"url": url, "pool_size": 1}), DEFAULT_TENANT)


def upload(database: Database, rendered: Rendered, number: int) -> None:
    images, claims = Images(database, settings.Processing()), Claims(database, settings.Processing())
    uuid = uuid4()
    assert rendered.metadata
    metadata = replace(rendered.metadata, perceptual_hash=f"{random.getrandbits(64):016x}")
    images.create(uuid, f"IMG_{number:04}.jpg", "The harbor at dawn, in the rain", 174_351)
    with claims.hold(uuid) as claim:
        assert claim
        key = f"originals/{uuid}.jpg"
        original = Original(key=key, content_type="image/jpeg", sha256=uuid.hex * 2, size=174_351)
        claims.name_original(claim, original)
        end = claims.succeed(claim, replace(rendered, metadata=metadata), {"thumbnail": f"{uuid}/thumbnail.jpg"})
    images.mark_announced(end)


def read_processor_time(database: Database) -> float:
    """Return the seconds that the connection's process has worked."""
    with database.transaction() as tx:
        pid = tx.rows("SELECT pg_backend_pid() AS pid")[0]["pid"]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(database: Database, rendered: Rendered, uploads: int) -> tuple[float, float]:
    """Return the time and the processor time of an upload, in ms."""
    upload(database, rendered, 0)
    before, began = read_processor_time(database), time.perf_counter()
    for number in range(uploads):
        upload(database, rendered, number)
    seconds, work = time.perf_counter() - began, read_processor_time(database) - before
    return seconds / uploads * 1000, work / uploads * 1000


def compare(empty: Database, full: Database, uploads: int, rounds: int) -> None:
    rendered = render(PHOTO.read_bytes(), [THUMBNAIL], Limits(), with_metadata=True)
    results: dict[str, list[tuple[float, float]]] = {"empty": [], "full": []}
    for _ in range(rounds):
        for name, database in (("empty", empty), ("full", full)):
            results[name].append(measure(database, rendered, uploads))
    print("\n| an image's statements, ms | empty | full | ratio |\n|---|---|---|---|")
    for column, title in enumerate(("time", "PostgreSQL's processor time")):
        before, after = (statistics.median(each[column] for each in found) for found in results.values())
        print(f"| {title} | {before:.2f} | {after:.2f} | {after / before:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, help="folder to keep and reuse")
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    observability.configure("error", "console")
    with tempfile.TemporaryDirectory() as scratch, serve(options.data or Path(scratch)):
        socket = os.environ["DATABASE_URL"].rpartition("host=")[2]
        empty = open_database(socket, f"empty_{uuid4().hex}", 0)
        full = open_database(socket, postgres.DATABASE, options.images)
        compare(empty, full, options.uploads, options.rounds)
        empty.disconnect()
        full.disconnect()


if __name__ == "__main__":
    main()
