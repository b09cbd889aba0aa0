"""Measure lists, searches and collections with a million images of 100 tenants.

    python -m benchmarks.million_rows [--images 1000000] [--data FOLDER] [--rounds 200] [--only TEXT]

Start only PostgreSQL, and fill it by SQL unless the folder has data. Some requests are also made with API keys of three
smaller tenants. Run each function like its container does, and
request it over one warm connection: first over HTTP alone, for p50 and p99, then a few times while PostgreSQL logs how
long its own work took. The floor is a probe, which the function's server answers without the function.
"""

import argparse
import http.client
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from alembic import command
from pg8000.native import Connection

from benchmarks.seed import LARGE, seed
from infra.local import ports, postgres
from infra.local.processes import Supervisor
from infra.local.settings import Settings
from shared_lib import settings
from shared_lib.commands.bootstrap import alembic_config
from shared_lib.database.connection import Database
from shared_lib.domain.api_keys import KeyGrant
from shared_lib.domain.principals import OPERATOR, Role
from shared_lib.repositories.api_keys import ApiKeys
from shared_lib.services.key_management import KeyManagement
from shared_lib.settings import Database as DatabaseSettings

ROOT = Path(__file__).parent.parent
SETTINGS = {  # requests carry no credentials, and use neither the store nor Kafka
    "AUTH_MODE": "anonymous",
    "S3_ENDPOINT_URL": "http://127.0.0.1:1",
    "S3_ACCESS_KEY_ID": "none",
    "S3_SECRET_ACCESS_KEY": "none",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "LOG_LEVEL": "error",
    "RATE_REQUESTS_PER_MINUTE": "1000000",  # never reached, but counted
    "RATE_TENANT_REQUESTS_PER_MINUTE": "1000000",
}
LARGEST = "default"
TENANTS = (LARGEST, "tenant-1", "tenant-10", "tenant-99")
WARM_UP = 15
LOGGED = 10  # requests whose statements are timed by PostgreSQL
DURATION = re.compile(r"duration: ([\d.]+) ms")
FLOOR = "floor: a probe"
NEXT = re.compile(r'<([^>]*)>; rel="next"')

OF_EACH_TENANT = {
    "one image": ("get_image", "/api/v1/images/{image}"),
    "similar": ("find_similar_images", "/api/v1/images/{image}/similar"),
    "similar, in 11 bits": ("find_similar_images", "/api/v1/images/{image}/similar?distance=11"),
    "list, page 1": ("list_images", "/api/v1/images"),
    "list, last page": ("list_images", "/api/v1/images?page={last}"),
    "status=failed": ("list_images", "/api/v1/images?status=failed"),
    "search, common": ("list_images", "/api/v1/images?search=harbor"),
    "search, in 2 %": ("list_images", "/api/v1/images?search=lantern"),
    "search, rare": ("list_images", "/api/v1/images?search=glockenspiel"),
    "search, one file": ("list_images", "/api/v1/images?search={file}"),
    "search, absent": ("list_images", "/api/v1/images?search=not-in-any-image"),
    "search, two letters, common": ("list_images", "/api/v1/images?search=st"),
    "search, two letters, absent": ("list_images", "/api/v1/images?search=zq"),
    "collections": ("list_collections", "/api/v1/collections"),
}
OF_LARGEST = {
    "list, page 1 x 100": ("list_images", "/api/v1/images?limit=100"),
    "list, page 1 x 100, no thumbnails": ("list_images", "/api/v1/images?limit=100&include=none"),
    "list, page 10,000": ("list_images", "/api/v1/images?page=10000"),
    "list, the middle": ("list_images", "/api/v1/images?page={middle}"),
    "list, beyond the last page": ("list_images", "/api/v1/images?page=1000000"),
    "status=pending": ("list_images", "/api/v1/images?status=pending"),
    "status=processing, none": ("list_images", "/api/v1/images?status=processing"),
    "status=all": ("list_images", "/api/v1/images?status=all"),
    "search, common, page 100": ("list_images", "/api/v1/images?search=harbor&page=100"),
    "search, only in old images": ("list_images", "/api/v1/images?search=Screenshot%202024-03"),
    "collection of 100,000, page 1": ("get_collection", f"/api/v1/collections/{LARGE}"),
    "collection, page 5,000": ("get_collection", f"/api/v1/collections/{LARGE}?page=5000"),
    "collection, last page": ("get_collection", f"/api/v1/collections/{LARGE}?page=9850"),
    "collection by filename": ("get_collection", f"/api/v1/collections/{LARGE}?sortBy=filename"),
    "collection by status": ("get_collection", f"/api/v1/collections/{LARGE}?sortBy=status"),
    "collection, search, common": ("get_collection", f"/api/v1/collections/{LARGE}?search=harbor"),
    "collection, search, rare": ("get_collection", f"/api/v1/collections/{LARGE}?search=scan-9"),
    "collection, search, one file": ("get_collection", f"/api/v1/collections/{LARGE}?search=IMG_0003"),
    "collection, search, absent": ("get_collection", f"/api/v1/collections/{LARGE}?search=not-in-any-image"),
    "collections, search": ("list_collections", "/api/v1/collections?search=album%2099"),
}
FOLLOWED = (
    "list, page 10,000",
    "list, the middle",
    "status=failed",
    "search, common, page 100",
    "search, in 2 %",
    "collection, page 5,000",
    "collections",
)
"""Also measured, for the largest tenant: the page that their `Link` names as the next."""
EXAMPLE = """
SELECT uuid, filename FROM images
WHERE tenant_id = :tenant AND status = 'succeeded' AND deleted_at IS NULL AND filename LIKE 'scan-%'
ORDER BY created_at, uuid LIMIT 1 OFFSET 20
"""
TOTAL = """
SELECT CAST(sum(change) AS bigint) FROM image_counts
WHERE tenant_id = :tenant AND collection_id = '00000000-0000-0000-0000-000000000000'
"""


@dataclass(frozen=True)
class Call:
    title: str
    function: str
    path: str
    headers: dict[str, str]
    """The credentials."""


@contextmanager
def serve(data: Path) -> Iterator[Path]:
    """Run PostgreSQL during the block, with its address in the environment. Yield its log."""
    data = data.resolve()  # PostgreSQL starts in another folder
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("w") as lock:
        supervisor = Supervisor(lock)
        try:
            local = Settings(port=5000, data_dir=data, inherited=dict(os.environ))
            os.environ.update(SETTINGS | postgres.start(supervisor, local, data / "postgres.log"))
            yield data / "postgres.log"
        finally:
            supervisor.stop()


@contextmanager
def run_function(name: str) -> Iterator[http.client.HTTPConnection]:
    """Run a function's server during the block. Yield a connection to it."""
    [port] = ports.free_ports(1)
    environ = os.environ | {
        "HOST": ports.LOOPBACK,
        "PORT": f"{port}",
        "THREADS": "4",
        "DATABASE_URL": os.environ["DATABASE_APP_URL"],
        "FUNCTION_TARGET": "main",
        "FUNCTION_SOURCE": str(ROOT / "functions" / name / "main.py"),
    }
    process = subprocess.Popen([sys.executable, "-m", "shared_lib.server"], env=environ)
    try:
        while not ports.responds_to_http(port):
            assert process.poll() is None, f"{name} does not start"
            time.sleep(0.05)
        yield http.client.HTTPConnection(ports.LOOPBACK, port, timeout=30)
    finally:
        process.terminate()
        process.wait()


def request(connection: http.client.HTTPConnection, call: Call) -> http.client.HTTPResponse:
    connection.request("GET", call.path, headers=call.headers)
    response = connection.getresponse()
    body = response.read()
    assert response.status in (200, 204), f"{call.path}: {response.status} {body[:200]!r}"
    return response


def measure(connection: http.client.HTTPConnection, call: Call, rounds: int) -> list[float]:
    """Return how long each request took, in ms."""
    connection.close()  # a server closes one that was idle; the next request opens it
    for _ in range(WARM_UP):
        request(connection, call)
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        request(connection, call)
        times.append((time.perf_counter() - began) * 1000)
    return times


def measure_database(admin: Connection, log: Path, call: Call) -> float:
    """Return how long PostgreSQL itself works for a request, in ms. New connections log it, so this starts anew."""
    admin.run("ALTER DATABASE images SET log_duration = on")
    with run_function(call.function) as connection:
        for _ in range(WARM_UP):
            request(connection, call)
        before = log.stat().st_size
        for _ in range(LOGGED):
            request(connection, call)
        with log.open("rb") as file:
            file.seek(before)
            lines = file.read().decode()
    admin.run("ALTER DATABASE images RESET log_duration")
    return sum(map(float, DURATION.findall(lines))) / LOGGED


def follow(connection: http.client.HTTPConnection, call: Call) -> Call | None:
    """Return the request for the page after that."""
    connection.close()
    found = NEXT.search(request(connection, call).getheader("Link") or "")
    return found and replace(call, title=f"{call.title}, and then the next page", path=found[1])


def list_calls(admin: Connection, database: DatabaseSettings) -> Iterator[Call]:
    yield Call(FLOOR, "get_image", "/_/health", {})
    for tenant in TENANTS:
        [[uuid, filename]] = admin.run(EXAMPLE, tenant=tenant)
        [[total]] = admin.run(TOTAL, tenant=tenant)
        found = {"image": uuid, "file": quote(filename), "middle": total // 20, "last": total // 10}
        requests = OF_EACH_TENANT | OF_LARGEST if tenant == LARGEST else OF_EACH_TENANT
        headers = {} if tenant == LARGEST else {"X-API-Key": make_key(database, tenant)}
        for title, (function, path) in requests.items():
            yield Call(f"{tenant}: {title}", function, path.format_map(found), headers)


def make_key(database: DatabaseSettings, tenant: str) -> str:
    connections = Database(database, tenant)
    try:
        grant = KeyGrant(name="benchmark", role=Role.VIEWER, scopes=None, days=1)
        return KeyManagement(ApiKeys(connections)).create(grant, OPERATOR).text
    finally:
        connections.disconnect()


def measure_all(admin: Connection, log: Path, calls: Sequence[Call], rounds: int) -> None:
    print("\n| request | p50 ms | p99 ms | of which PostgreSQL | response |\n|---|---|---|---|---|")
    with ExitStack() as stack:
        connections = {name: stack.enter_context(run_function(name)) for name in {each.function for each in calls}}
        for call in calls:
            connection = connections[call.function]
            following = follow(connection, call) if call.title.removeprefix(f"{LARGEST}: ") in FOLLOWED else None
            for each in filter(None, (call, following)):
                times = measure(connection, each, rounds)
                work = measure_database(admin, log, each) if each.title != FLOOR else 0
                connection.close()
                print_row(each.title, times, work, request(connection, each))


def print_row(title: str, times: list[float], database: float, response: http.client.HTTPResponse) -> None:
    total, relation = response.getheader("X-Total-Count"), response.getheader("X-Total-Count-Relation")
    summary = f"{response.status}" + (f", {relation or ''} {int(total):,}" if total else "")
    p99 = statistics.quantiles(times, n=100)[98]
    print(f"| {title} | {statistics.median(times):.1f} | {p99:.1f} | {database:.1f} | {summary} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, help="folder to keep and reuse")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--only", default="", help="measure only requests whose title has this text")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, serve(options.data or Path(scratch)) as log:
        loaded = settings.load()
        command.upgrade(alembic_config(loaded), "head")
        socket = loaded.database.url.get_secret_value().rpartition("host=")[2]
        with Connection("postgres", database=postgres.DATABASE, unix_sock=f"{socket}/.s.PGSQL.5432") as admin:
            if not admin.run("SELECT 1 FROM images LIMIT 1"):
                began = time.perf_counter()
                seed(admin, options.images)
                print(f"filled in {time.perf_counter() - began:.0f} s")
            calls = [each for each in list_calls(admin, loaded.database) if options.only in each.title]
            measure_all(admin, log, calls, options.rounds)


if __name__ == "__main__":
    main()
