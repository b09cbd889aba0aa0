"""A function that is newer than the database's tables is not ready, and becomes ready when bootstrap has run."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import requests
from pydantic import SecretStr
from releases.test_tables import LAST, migrate
from service import ENVIRONMENT, ROOT, Platform, find_free_port, wait_for

from shared_lib.database.connection import Database
from shared_lib.database.migrations import find_newest_revision
from shared_lib.settings import Database as DatabaseSettings

UNREACHABLE = "postgresql://images_app@127.0.0.1:1/images?sslmode=disable"


@contextmanager
def serve(platform: Platform, database_url: str, name: str = "get_image") -> Iterator[str]:
    """Serve a function like its container, and yield its address once it answers."""
    port = find_free_port()
    source = f"{ROOT / 'functions' / name / 'main.py'}"
    environ = ENVIRONMENT | platform.environment | {"DATABASE_URL": database_url, "HOST": "127.0.0.1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "shared_lib.server"],
        env=environ | {"PORT": f"{port}", "FUNCTION_TARGET": "main", "FUNCTION_SOURCE": source},
        cwd=ROOT,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: is_alive(url), bool, 60)
        yield url
    finally:
        process.terminate()
        assert process.wait(30) == 0


def is_alive(url: str) -> bool:
    try:
        return requests.get(f"{url}/_/health", timeout=10).status_code == 204
    except requests.ConnectionError:
        return False


def bootstrap(platform: Platform, url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shared_lib.commands.bootstrap"]
    environ = ENVIRONMENT | platform.environment | {"DATABASE_URL": url}
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def as_app(platform: Platform, url: str) -> str:
    """Return the URL of a database for the role of the API."""
    return urlsplit(platform.environment["DATABASE_APP_URL"])._replace(path=urlsplit(url).path).geturl()


@pytest.mark.parametrize("name", ["get_image", "serve_gallery"])
def test_a_function_is_not_ready_before_bootstrap_has_run_and_ready_afterwards(
    platform: Platform, empty_database: str, name: str
) -> None:
    migrate(empty_database, LAST["revision"])

    with serve(platform, as_app(platform, empty_database), name) as url:
        early = requests.get(f"{url}/_/ready", timeout=10)
        assert (early.status_code, early.text) == (
            503,
            "The database's tables are older than this release: run its bootstrap\n",
        )
        assert bootstrap(platform, empty_database).returncode == 0
        wait_for(lambda: requests.get(f"{url}/_/ready", timeout=10).status_code, lambda status: status == 204, 10)


def test_a_function_is_ready_while_the_database_is_out_of_reach(platform: Platform) -> None:
    """To take it away would not bring the database back, and it answers with the reason."""
    with serve(platform, UNREACHABLE) as url:
        assert requests.get(f"{url}/_/ready", timeout=10).status_code == 204


def test_after_a_rollback_functions_are_ready_and_bootstrap_leaves_the_tables_as_they_are(
    platform: Platform, empty_database: str
) -> None:
    migrate(empty_database, find_newest_revision())
    newer = Database(DatabaseSettings(url=SecretStr(empty_database)))
    with newer.transaction() as tx:
        tx.rows("UPDATE alembic_version SET version_num = '9999'")

    ended = bootstrap(platform, empty_database)

    assert ended.returncode == 0, ended.stderr
    assert "database_is_newer" in ended.stderr
    with newer.transaction() as tx:
        assert tx.rows("SELECT version_num FROM alembic_version") == [{"version_num": "9999"}]
        tx.rows("UPDATE alembic_version SET version_num = :newest", newest=find_newest_revision())
    newer.disconnect()
