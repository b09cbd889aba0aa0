"""A transaction's statements travel together, and take effect together or not at all, whatever breaks on the way."""

from collections.abc import Iterator

import pytest
from pg8000.exceptions import DatabaseError
from postgres_proxy import PostgresProxy
from pydantic import SecretStr

from shared_lib.database.connection import Database, acting_for
from shared_lib.database.driver import Prepared
from shared_lib.database.failures import ConstraintViolated
from shared_lib.errors import CommitUncertain, Unavailable
from shared_lib.settings import Database as DatabaseSettings

INSERT = "INSERT INTO numbers VALUES (:number)"
UPSERT = f"{INSERT} ON CONFLICT DO NOTHING"
SELECT = Prepared("SELECT * FROM numbers WHERE number = :number")
COUNT_PREPARED = "SELECT count(*) AS statements FROM pg_prepared_statements WHERE statement NOT LIKE '%set_config%'"


@pytest.fixture
def proxy(empty_database: str) -> Iterator[PostgresProxy]:
    running = PostgresProxy(empty_database)
    yield running
    running.close()


@pytest.fixture
def database(proxy: PostgresProxy) -> Iterator[Database]:
    opened = Database(DatabaseSettings(url=SecretStr(proxy.url), pool_size=2, statement_timeout_seconds=2))
    with opened.transaction() as tx:
        tx.queue("DROP TABLE IF EXISTS numbers")
        tx.last("CREATE TABLE numbers (number integer PRIMARY KEY)")
    proxy.forget()
    yield opened
    opened.disconnect()


def read(database: Database) -> list[int]:
    with database.transaction() as tx:
        return [row["number"] for row in tx.rows("SELECT number FROM numbers ORDER BY number")]


def end_idle_connections(database: Database) -> None:
    """End all other connections, as a restart of the server does."""
    with database.transaction() as tx:
        tx.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_transaction_takes_one_round_trip_for_each_answer_it_waits_for(
    database: Database, proxy: PostgresProxy
) -> None:
    with database.transaction() as tx:
        first = tx.queue(f"{INSERT} RETURNING number", number=1)
        second = tx.rows(f"{INSERT} RETURNING number", number=2)
        third = tx.last("SELECT number FROM numbers ORDER BY number")

    assert proxy.round_trips == 2
    assert (first, second, third) == ([{"number": 1}], [{"number": 2}], [{"number": 1}, {"number": 2}])
    with database.transaction():
        pass
    assert proxy.round_trips == 2, "nothing was to be done"


def test_a_queued_statement_takes_effect_without_another(database: Database) -> None:
    with database.transaction() as tx:
        tx.queue(INSERT, number=1)

    assert read(database) == [1]


def test_a_statement_that_fails_takes_all_others_with_it(database: Database) -> None:
    with pytest.raises(ConstraintViolated), database.transaction() as tx:
        tx.queue(INSERT, number=1)
        tx.queue(INSERT, number=1)
        tx.last(INSERT, number=2)

    assert read(database) == []


def test_a_block_that_raises_takes_all_statements_with_it(database: Database) -> None:
    with pytest.raises(KeyError), database.transaction() as tx:
        tx.rows(INSERT, number=1)
        tx.queue(INSERT, number=2)
        raise KeyError

    assert read(database) == []


@pytest.mark.parametrize("method", ["rows", "last"])
def test_a_connection_that_broke_while_it_was_idle_is_replaced(
    database: Database, empty_database: str, method: str
) -> None:
    assert read(database) == []
    admin = Database(DatabaseSettings(url=SecretStr(empty_database)))
    end_idle_connections(admin)
    admin.disconnect()

    with database.transaction() as tx:
        getattr(tx, method)(UPSERT, number=1)

    assert read(database) == [1]


def test_a_transaction_that_breaks_in_the_middle_is_not_repeated(database: Database, empty_database: str) -> None:
    admin = Database(DatabaseSettings(url=SecretStr(empty_database)))
    with pytest.raises(Unavailable), database.transaction() as tx:
        tx.rows(INSERT, number=1)
        end_idle_connections(admin)
        tx.last(INSERT, number=2)
    admin.disconnect()

    assert read(database) == []


@pytest.mark.parametrize("method", ["queue", "last"])
def test_a_commit_without_an_answer_is_uncertain(database: Database, proxy: PostgresProxy, method: str) -> None:
    with pytest.raises(CommitUncertain), database.transaction() as tx:
        tx.rows(INSERT, number=1)
        proxy.lose_answer("COMMIT")
        getattr(tx, method)(INSERT, number=2)

    assert read(database) == [1, 2]


def test_a_transaction_of_one_round_trip_is_run_again_if_its_connection_breaks_before_the_answer(
    database: Database, proxy: PostgresProxy
) -> None:
    proxy.lose_answer("UPSERT")
    with database.transaction() as tx:
        found = tx.last(f"{UPSERT} RETURNING number /* UPSERT */", number=1)

    assert proxy.lost == 1
    assert found == [], "the first time has inserted it"
    assert read(database) == [1]


def test_a_transaction_of_one_round_trip_on_a_new_connection_is_uncertain_without_an_answer(
    database: Database, proxy: PostgresProxy
) -> None:
    database.disconnect()
    proxy.lose_answer("INSERT")
    with pytest.raises(CommitUncertain), database.transaction() as tx:
        tx.last(UPSERT, number=1)

    assert read(database) == [1]


def test_a_transaction_that_does_not_say_which_statement_is_its_last_is_not_run_twice(
    database: Database, proxy: PostgresProxy
) -> None:
    with database.transaction() as tx:
        tx.rows("ALTER TABLE numbers DROP CONSTRAINT numbers_pkey")
    proxy.lose_answer("INSERT")
    with pytest.raises(CommitUncertain), database.transaction() as tx:
        tx.queue(INSERT, number=1)

    assert proxy.lost == 1
    assert read(database) == [1]


def test_a_statement_that_takes_too_long_with_a_commit_is_certain_to_have_failed(database: Database) -> None:
    with pytest.raises(Unavailable) as failed, database.transaction() as tx:
        tx.rows(INSERT, number=1)
        tx.last("SELECT pg_sleep(3)")

    assert not isinstance(failed.value, CommitUncertain)
    assert read(database) == []


@pytest.mark.parametrize("method", ["rows", "last"])
def test_a_commit_that_need_not_be_durable_does_not_wait_for_the_disk(database: Database, method: str) -> None:
    with database.transaction(durable=False) as tx:
        assert getattr(tx, method)("SHOW synchronous_commit") == [{"synchronous_commit": "off"}]
    with database.transaction() as tx:
        assert getattr(tx, method)("SHOW synchronous_commit") == [{"synchronous_commit": "on"}]


@pytest.mark.parametrize("method", ["rows", "last"])
def test_settings_of_a_transaction_end_with_it(database: Database, method: str) -> None:
    with acting_for("another"), database.transaction() as tx:
        assert getattr(tx, method)("SHOW statement_timeout") == [{"statement_timeout": "2s"}]
    with database.transaction() as tx:
        assert tx.last("SELECT current_setting('app.tenant', true) AS tenant") in ([{"tenant": ""}], [{"tenant": None}])


@pytest.mark.parametrize(("prepares", "kept"), [(True, 1), (False, 0)])
def test_a_connection_keeps_a_prepared_statement_unless_a_pooler_forbids_it(
    empty_database: str, *, prepares: bool, kept: int
) -> None:
    settings = DatabaseSettings(url=SecretStr(empty_database), prepare_statements=prepares)
    database = Database(settings)
    for number in range(3):
        with database.transaction() as tx:
            assert tx.rows(Prepared("SELECT CAST(:number AS integer) AS number"), number=number) == [{"number": number}]
            assert tx.rows(COUNT_PREPARED) == [{"statements": kept}]
    database.disconnect()


def test_a_prepared_statement_works_again_after_a_migration_has_changed_its_result(database: Database) -> None:
    with database.transaction() as tx:
        assert tx.rows(SELECT, number=1) == []
    with database.transaction() as tx:
        tx.last("ALTER TABLE numbers ADD text text")

    with pytest.raises(DatabaseError, match="cached plan"), database.transaction() as tx:
        tx.rows(SELECT, number=1)

    with database.transaction() as tx:
        tx.queue("INSERT INTO numbers VALUES (2, 'two')")
        assert tx.rows(SELECT, number=2) == [{"number": 2, "text": "two"}]


def test_a_statement_that_fails_before_a_prepared_one_is_parsed_leaves_it_usable(database: Database) -> None:
    with pytest.raises(ConstraintViolated), database.transaction() as tx:
        tx.rows(INSERT, number=1)
        tx.queue(INSERT, number=1)
        tx.rows(SELECT, number=1)

    with database.transaction() as tx:
        assert tx.rows(SELECT, number=1) == []


def test_a_prepared_statement_that_fails_at_first_returns_rows_later(database: Database) -> None:
    divide = Prepared("SELECT 1 / CAST(:number AS integer) AS ratio")
    with pytest.raises(DatabaseError, match="division by zero"), database.transaction() as tx:
        tx.rows(divide, number=0)

    for _ in range(3):
        with database.transaction() as tx:
            assert tx.rows(divide, number=1) == [{"ratio": 1}]


def test_a_connection_does_not_prepare_a_statement_again_after_another_failed(database: Database) -> None:
    for _ in range(2):
        with database.transaction() as tx:
            tx.queue(UPSERT, number=1)
            assert tx.rows(SELECT, number=1) == [{"number": 1}]
            assert tx.rows(COUNT_PREPARED) == [{"statements": 1}]
        with pytest.raises(ConstraintViolated), database.transaction() as tx:
            tx.rows(INSERT, number=1)
