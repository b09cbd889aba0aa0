"""Bootstrap builds indexes while functions go on writing, and builds those again whose building broke off."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from pg8000.dbapi import Connection
from pydantic import SecretStr
from releases.test_readiness import bootstrap
from releases.test_tables import migrate
from service import ENVIRONMENT, ROOT, Platform, wait_for

from shared_lib.database.indexes import INDEXES
from shared_lib.database.migrations import find_newest_revision
from shared_lib.database.sockets import open_for_migrations
from shared_lib.settings import Database as DatabaseSettings

WRITE = """
    INSERT INTO audit_events (tenant_id, principal, address, request_id, action, subject, details)
    VALUES ('default', 'key:1', '', '', 'image_deleted', 'i1', '{}')
"""
READ_INDEXES = """
    SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE relname = ANY(%s) ORDER BY relname
"""
INVALIDATE = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass('audit_events_by_action')"


@pytest.fixture
def connect(empty_database: str, administrator_url: str) -> Iterator[Callable[[], Connection]]:
    """Connect to the empty database as its administrator."""
    url = urlsplit(administrator_url)._replace(path=urlsplit(empty_database).path).geturl()
    opened: list[Connection] = []

    def open_another() -> Connection:
        opened.append(open_for_migrations(DatabaseSettings(url=SecretStr(url))))
        return opened[-1]

    yield open_another
    for connection in opened:
        connection.close()


def read(connection: Connection, sql: str, *values: object) -> list[list[object]]:
    with closing(connection.cursor()) as cursor:
        cursor.execute(sql, values)
        rows: list[list[object]] = [list(row) for row in cursor.fetchall()]
    connection.commit()
    return rows


def test_functions_write_while_bootstrap_builds_indexes(
    platform: Platform, empty_database: str, connect: Callable[[], Connection]
) -> None:
    migrate(empty_database, find_newest_revision())
    unfinished, writer, reader = connect(), connect(), connect()
    unfinished.cursor().execute(WRITE)  # index builds wait for this transaction
    words = [sys.executable, "-m", "shared_lib.commands.bootstrap"]
    environ = ENVIRONMENT | platform.environment | {"DATABASE_URL": empty_database}

    with subprocess.Popen(words, env=environ, cwd=ROOT) as building:
        try:
            wait_for(lambda: read(reader, READ_INDEXES, list(INDEXES)), bool, 60)
            assert building.poll() is None
            writer.cursor().execute("SET lock_timeout = '2s'")
            writer.cursor().execute(WRITE)
            writer.commit()
        finally:
            unfinished.commit()
        assert building.wait(60) == 0
    assert read(reader, READ_INDEXES, list(INDEXES)) == [[name, True] for name in sorted(INDEXES)]


def test_an_index_whose_building_broke_off_is_built_again(
    platform: Platform, empty_database: str, connect: Callable[[], Connection]
) -> None:
    assert bootstrap(platform, empty_database).returncode == 0
    administrator = connect()
    administrator.cursor().execute(INVALIDATE)
    administrator.commit()

    assert bootstrap(platform, empty_database).returncode == 0

    assert read(administrator, READ_INDEXES, list(INDEXES)) == [[name, True] for name in sorted(INDEXES)]
