"""After any fault at any byte of an answer, a pooled connection has read its answers to the end, or is closed."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pg8000.exceptions import DatabaseError
from postgres_proxy import Break, PostgresProxy
from pydantic import SecretStr

from shared_lib.database.connection import Database, Transaction, acting_for
from shared_lib.database.driver import Prepared
from shared_lib.errors import Unavailable
from shared_lib.settings import Database as DatabaseSettings

OWN = "SELECT owner, number FROM secrets WHERE owner = :tenant ORDER BY number"
UNREADABLE = ("SELECT time '24:00:00'", "SELECT CAST(repeat('9', 5000) AS json)")
"""Valid statements with results that the driver's converters cannot read."""
STATEMENTS = (OWN, Prepared(OWN), *UNREADABLE, Prepared(UNREADABLE[0]), "SELECT 1 / 0", "SELECT pg_sleep(0)")
LONGEST_ANSWER = 1500  # bytes of the answers to four statements


class Interrupted(BaseException):
    """An exception that a signal raises, as Ctrl-C does, at whatever the process is doing."""


@pytest.fixture(scope="module")
def proxy(empty_database: str) -> Iterator[PostgresProxy]:
    running = PostgresProxy(empty_database)
    yield running
    running.close()


@pytest.fixture(scope="module")
def database(proxy: PostgresProxy) -> Iterator[Database]:
    opened = Database(DatabaseSettings(url=SecretStr(proxy.url), pool_size=1, statement_timeout_seconds=0.3))
    with opened.transaction() as tx:
        tx.queue("CREATE TABLE secrets (owner text, number integer)")
        tx.last(
            "INSERT INTO secrets SELECT owner, number FROM unnest('{mine,yours}'::text[]) owner, "
            "generate_series(1, 3) number"
        )
    yield opened
    opened.disconnect()


@pytest.fixture(scope="module")
def interrupt() -> Iterator[Break]:
    """A break that interrupts the main thread before the rest of the message arrives."""
    raised = threading.Event()

    def handle(_number: int, _frame: object) -> None:
        raised.set()
        raise Interrupted

    def send(rest: bytes) -> bytes:
        raised.clear()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        raised.wait(5)
        return rest

    before = signal.signal(signal.SIGUSR1, handle)
    yield send
    signal.signal(signal.SIGUSR1, before)


def cut(_rest: bytes) -> bytes:
    return b""


def garble(rest: bytes) -> bytes:
    """No message has this type, and none is that long."""
    return b"\xff" + rest[1:]


def read_own(database: Database, owner: str) -> list[tuple[str, int]]:
    with acting_for(owner), database.transaction() as tx:
        return [(row["owner"], row["number"]) for row in tx.last(OWN)]


def assert_in_step(database: Database) -> None:
    for owner in ("yours", "mine"):
        assert read_own(database, owner) == [(owner, 1), (owner, 2), (owner, 3)]


def run(tx: Transaction, statements: list[str], method: str) -> None:
    *first, last = statements
    for sql in first:
        tx.queue(sql)
    getattr(tx, method)(last)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_after_any_fault_in_an_answer_the_next_request_reads_its_own_rows(
    database: Database, proxy: PostgresProxy, interrupt: Break, data: st.DataObject
) -> None:
    statements = data.draw(st.lists(st.sampled_from(STATEMENTS), min_size=1, max_size=4))
    method = data.draw(st.sampled_from(["rows", "last", "queue"]))
    if by := data.draw(st.sampled_from([None, cut, garble, interrupt])):
        proxy.break_answer(data.draw(st.integers(0, LONGEST_ANSWER)), by)

    with suppress(Exception, Interrupted), acting_for("mine"), database.transaction() as tx:
        run(tx, statements, method)

    proxy.mend()
    assert_in_step(database)


@pytest.mark.parametrize("sql", UNREADABLE)
@pytest.mark.parametrize("method", ["rows", "last", "queue"])
def test_after_a_value_that_the_driver_cannot_read_the_next_request_reads_its_own_rows(
    database: Database, sql: str, method: str
) -> None:
    with pytest.raises(ValueError), acting_for("mine"), database.transaction() as tx:  # noqa: PT011  the driver's own
        run(tx, [sql, OWN], method)

    assert_in_step(database)


def test_a_connection_that_cannot_be_replaced_is_an_outage(administrator_url: str, empty_database: str) -> None:
    """As while the server starts again: connections that were idle are gone, and it refuses new ones."""
    database = Database(DatabaseSettings(url=SecretStr(empty_database)))
    database.ping()
    with refusing_connections(administrator_url, empty_database), pytest.raises(Unavailable, match="cannot answer now"):
        database.ping()

    database.ping()
    database.disconnect()


@contextmanager
def refusing_connections(administrator_url: str, url: str) -> Iterator[None]:
    """Let the server end all connections to a database, and refuse new ones."""
    name = url.partition("?")[0].rpartition("/")[2]
    admin = Database(DatabaseSettings(url=SecretStr(administrator_url)))
    with admin.transaction() as tx:
        tx.rows(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
        tx.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name", name=name)
    yield
    with admin.transaction() as tx:
        tx.rows(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
    admin.disconnect()


def test_an_error_of_the_operating_system_in_a_block_is_not_taken_for_an_outage_of_the_database(
    database: Database,
) -> None:
    with pytest.raises(OSError, match="No space left"), database.transaction() as tx:
        tx.rows(OWN)
        Path("/dev/full").write_text("more", encoding="utf-8")

    assert_in_step(database)


def test_a_block_that_goes_on_after_a_statement_failed_does_not_end_as_if_it_had_committed(database: Database) -> None:
    with pytest.raises(RuntimeError, match="nothing was committed"), database.transaction() as tx:
        with suppress(DatabaseError):
            tx.rows("SELECT 1 / 0")
        tx.commit()

    assert_in_step(database)
