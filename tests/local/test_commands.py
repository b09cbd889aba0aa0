"""Commands explain themselves with `--help`, reject unknown arguments, and ask before they delete data."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pydantic import SecretStr
from service import ENVIRONMENT, ROOT, Platform, start_platform

from shared_lib import settings
from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import Database
from shared_lib.repositories.image_queries import ImageQueries
from shared_lib.repositories.images import Images

PROGRAMS = (
    "infra.local",
    "infra.contracts",
    "shared_lib.commands.api_keys",
    "shared_lib.commands.bootstrap",
    "shared_lib.commands.redrive",
)
pytestmark = pytest.mark.timeout(300)  # make may install something first
MIGRATIONS = ROOT / "shared_lib/database/migrations/versions"


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = ENVIRONMENT | variables
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_prints_the_usage_and_does_nothing_else(program: str) -> None:
    result = run(sys.executable, "-m", program, "--help")

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"usage: python -m {program}")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("argument", ["rset", "--confrim"])
def test_a_program_rejects_an_unknown_argument(program: str, argument: str) -> None:
    result = run(sys.executable, "-m", program, argument)

    assert result.returncode == 2
    assert argument in result.stderr


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("PORT", "abc", "PORT: must be a whole number"),
        ("PORT", "99999", "PORT: must be at most 65,535"),
        ("EDGE_CACHE", "perhaps", "EDGE_CACHE: must be true or false"),
        ("AUTH_MODE", "none", "AUTH_MODE: must be 'anonymous' or 'required'"),
    ],
)
def test_a_setting_of_make_run_that_is_wrong_is_named_in_plain_words(variable: str, value: str, complaint: str) -> None:
    result = run("make", "run", **{variable: value})

    assert result.returncode != 0
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr


def test_redrive_prints_its_result_and_nothing_else(platform: Platform) -> None:
    result = run("make", "redrive", "dry-run=yes", "codes=delivery_given_up", **platform.environment)

    assert (result.returncode, result.stdout) == (0, "0 images would be tried again\n")


def test_the_command_that_make_run_prints_works_when_it_is_pasted(tmp_path: Path) -> None:
    machine = start_platform(tmp_path / "it's my data", AUTH_MODE="required")
    try:
        [command] = [line for line in machine.log.read_text().splitlines() if line.startswith("  set -a;")]
        pasted = run("sh", "-c", command)
    finally:
        machine.stop()

    assert (pasted.returncode, pasted.stdout[:5]) == (0, "imgp_"), pasted.stderr


@pytest.mark.parametrize("service", ["kafka", "minio"])
def test_the_kafka_and_minio_scripts_reject_arguments(service: str) -> None:
    result = run(f"infra/services/{service}", "--help")

    assert result.returncode == 2
    assert "DATA_DIR are settings" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["name="]])
def test_a_migration_needs_a_name(arguments: list[str]) -> None:
    before = sorted(MIGRATIONS.iterdir())

    result = run("make", "migration", *arguments, name="")

    assert result.returncode != 0
    assert 'make migration name="add a column"' in result.stderr
    assert sorted(MIGRATIONS.iterdir()) == before


def count_images(url: str) -> int:
    database = Database(settings.Database(url=SecretStr(url)), DEFAULT_TENANT)
    count = ImageQueries(database).count()
    database.disconnect()
    return count


def test_a_reset_needs_confirmation_and_with_images_also_force(platform: Platform, empty_database: str) -> None:
    environ = platform.environment | {"DATABASE_URL": empty_database}
    assert run("make", "migrate", **environ).returncode == 0
    database = Database(settings.Database(url=SecretStr(empty_database)), DEFAULT_TENANT)
    Images(database, settings.Processing()).create(uuid4(), "kept.jpg", None, 1)
    database.disconnect()

    for arguments, hint in (
        (["reset"], "make reset confirm=yes"),
        (["reset", "force=yes"], "make reset confirm=yes"),
        (["reset", "confirm=no"], "make reset confirm=yes"),
        (["reset", "confirm=yes"], "make reset confirm=yes force=yes"),
    ):
        result = run("make", *arguments, **environ)
        assert result.returncode != 0
        assert hint in result.stderr
        assert "1 image" in result.stderr
        assert urlsplit(empty_database).path[1:] in result.stderr
        assert count_images(empty_database) == 1

    result = run("make", "reset", "confirm=yes", "force=yes", **environ)
    assert result.returncode == 0, result.stderr
    assert "database_reset" in result.stderr
    assert count_images(empty_database) == 0
    assert run("make", "reset", "confirm=yes", **environ).returncode == 0
