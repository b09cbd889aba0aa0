"""What is typed at a terminal: `--help` explains, a slip is refused, and what cannot be undone is asked for twice."""

import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pydantic import SecretStr
from service import ENVIRONMENT, ROOT, Platform

from shared_lib import settings
from shared_lib.database.connection import Database
from shared_lib.repositories import Images

PROGRAMS = ("infra.local", "infra.contracts", "shared_lib.commands.bootstrap", "shared_lib.commands.redrive")
pytestmark = pytest.mark.timeout(300)  # make may have something to install first
MIGRATIONS = ROOT / "shared_lib/database/migrations/versions"


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = ENVIRONMENT | variables
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_explains_a_program_and_does_nothing_else(program: str) -> None:
    asked = run(sys.executable, "-m", program, "--help")

    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.startswith(f"usage: python -m {program}")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("slip", ["rset", "--confrim"])
def test_a_word_that_a_program_does_not_know_is_refused(program: str, slip: str) -> None:
    asked = run(sys.executable, "-m", program, slip)

    assert asked.returncode == 2
    assert slip in asked.stderr


@pytest.mark.parametrize("service", ["kafka", "minio"])
def test_a_service_of_its_own_takes_no_words(service: str) -> None:
    asked = run(f"infra/services/{service}", "--help")

    assert asked.returncode == 2
    assert "DATA_DIR are settings" in asked.stderr


@pytest.mark.parametrize("words", [[], ["name="]])
def test_a_migration_without_a_name_is_refused(words: list[str]) -> None:
    before = sorted(MIGRATIONS.iterdir())

    asked = run("make", "migration", *words, name="")

    assert asked.returncode != 0
    assert 'make migration name="add a column"' in asked.stderr
    assert sorted(MIGRATIONS.iterdir()) == before


@pytest.fixture
def own_database(platform: Platform) -> Iterator[str]:
    """A database beside the service's, with one image in it; its URL."""
    url = platform.environment["DATABASE_URL"]
    own = urlsplit(url)._replace(path=f"/reset_{uuid4().hex}").geturl()
    name = urlsplit(own).path[1:]
    with_rights = settings.Database(url=SecretStr(url))
    execute(with_rights, f"COMMIT; CREATE DATABASE {name}")
    yield own
    execute(with_rights, f"COMMIT; DROP DATABASE {name} WITH (FORCE)")


def execute(database: settings.Database, statement: str) -> None:
    opened = Database(database)
    with opened.transaction() as tx:
        for each in statement.split("; "):
            tx.rows(each)
    opened.disconnect()


def count_images(url: str) -> int:
    database = Database(settings.Database(url=SecretStr(url)))
    count = Images(database, settings.Processing()).count_all()
    database.disconnect()
    return count


def test_a_reset_is_confirmed_and_where_images_exist_it_is_forced(platform: Platform, own_database: str) -> None:
    environ = platform.environment | {"DATABASE_URL": own_database}
    assert run("make", "migrate", **environ).returncode == 0
    database = Database(settings.Database(url=SecretStr(own_database)))
    Images(database, settings.Processing()).create(uuid4(), "kept.jpg", None, 1)
    database.disconnect()

    for words, told in (
        (["reset"], "make reset confirm=yes"),
        (["reset", "force=yes"], "make reset confirm=yes"),
        (["reset", "confirm=no"], "make reset confirm=yes"),
        (["reset", "confirm=yes"], "make reset confirm=yes force=yes"),
    ):
        asked = run("make", *words, **environ)
        assert asked.returncode != 0
        assert told in asked.stderr
        assert "1 image" in asked.stderr
        assert urlsplit(own_database).path[1:] in asked.stderr
        assert count_images(own_database) == 1

    asked = run("make", "reset", "confirm=yes", "force=yes", **environ)
    assert asked.returncode == 0, asked.stderr
    assert "database_reset" in asked.stderr
    assert count_images(own_database) == 0
    assert run("make", "reset", "confirm=yes", **environ).returncode == 0
