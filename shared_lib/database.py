"""Connections and transactions: the only room that knows the driver (pg8000).

One connection per thread, opened on first use and again after it broke. Statements take named parameters
(`:name`) and answer rows as dictionaries.
"""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pg8000.dbapi
from pg8000.exceptions import DatabaseError, InterfaceError
from pg8000.native import Connection

from shared_lib.errors import Unavailable
from shared_lib.settings import Database as DatabaseSettings

STILL_REFERENCED = ("23503", "23001")  # foreign_key_violation; restrict_violation since PostgreSQL 18
_CONNECTION_LOST = (InterfaceError, OSError)
# Classes 08 connection, 53 resources, 57 operator intervention; 25P03 idle timeout; 40 rolled back, may be retried.
_TRANSIENT = ("08", "53", "57", "25P03", "40")


class ConstraintViolated(Exception):
    """A statement broke a constraint; `sqlstate` and `constraint` say which."""

    def __init__(self, sqlstate: str, constraint: str) -> None:
        super().__init__(f"{constraint} ({sqlstate})")
        self.sqlstate = sqlstate
        self.constraint = constraint


def parse_url(url: str) -> dict[str, Any]:
    """Turn a libpq URL into the driver's arguments. `?host=/dir` names the directory of a Unix socket."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres") or len(parts.path) < 2:
        raise Unavailable("DATABASE_URL must look like postgresql://user:password@host:5432/name")
    arguments: dict[str, Any] = {
        "user": unquote(parts.username or "postgres"),
        "password": unquote(parts.password) if parts.password else None,
        "database": unquote(parts.path[1:]),
        "port": parts.port or 5432,
    }
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    socket_folder = query.get("host", "")
    if socket_folder.startswith("/"):
        return arguments | {"unix_sock": f"{socket_folder}/.s.PGSQL.{arguments['port']}"}
    return arguments | {
        "host": parts.hostname or socket_folder or "127.0.0.1",
        "ssl_context": _encryption(query.get("sslmode", "prefer"), query.get("sslrootcert")),
    }


def describe_url(url: str) -> str:
    """Which database it is, without its credentials."""
    found = parse_url(url)
    return f"the database {found['database']} on {found.get('host') or found['unix_sock']}:{found['port']}"


def _encryption(mode: str, authorities: str | None) -> ssl.SSLContext | bool | None:
    """What libpq's sslmode is to the driver; None is its own way to prefer."""
    if mode in ("verify-ca", "verify-full"):
        context = ssl.create_default_context(cafile=authorities)
        context.check_hostname = mode == "verify-full"
        return context
    modes = {"disable": False, "prefer": None, "require": True}
    if mode not in modes:
        raise Unavailable(f"DATABASE_URL: sslmode is one of {', '.join(modes)}, verify-ca, verify-full")
    return modes[mode]


class Transaction:
    """Statements that hold together: all of them, or none."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:  # noqa: ANN401  a column may hold anything
        found = self._connection.run(sql, **parameters) or []
        names = [column["name"] for column in self._connection.columns or []]
        return [dict(zip(names, row, strict=True)) for row in found]

    def row(self, sql: str, **parameters: Any) -> dict[str, Any] | None:  # noqa: ANN401  (same)
        """The first row, or None."""
        return next(iter(self.rows(sql, **parameters)), None)


class _Own:
    """A thread's connection, closed with the thread."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        with suppress(*_CONNECTION_LOST, DatabaseError):
            self.connection.close()


class Database:
    """A PostgreSQL database, reached by as many connections as there are threads that ask."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._local = threading.local()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """
        Commit when the block ends, roll back when it raises.

        Raises Unavailable when the database is out of reach (what a lost COMMIT did is then unknown), and
        ConstraintViolated when a statement breaks one.
        """
        connection = self._begin()
        try:
            yield Transaction(connection)
            connection.run("COMMIT")
        except _CONNECTION_LOST as error:
            self.disconnect()
            raise Unavailable("The database is out of reach") from error
        except DatabaseError as error:
            self._roll_back(connection)
            raise _translate(error) from error
        except BaseException:
            self._roll_back(connection)
            raise

    def ping(self) -> None:
        with self.transaction() as tx:
            tx.row("SELECT 1")

    def _begin(self) -> Connection:
        """A connection inside a transaction. One that broke while idle is replaced once, unseen by the caller."""
        for connection in (self._current(), None):
            try:
                ready = connection or self._connect()
                ready.run("BEGIN")
            except _CONNECTION_LOST as error:
                self.disconnect()
                if connection is None:
                    raise Unavailable("The database is out of reach") from error
            except DatabaseError as error:
                self.disconnect()
                if connection is None:
                    raise _translate(error) from error
            else:
                return ready
        raise AssertionError

    def _current(self) -> Connection | None:
        own: _Own | None = getattr(self._local, "own", None)
        return own and own.connection

    def _connect(self) -> Connection:
        self._local.own = _Own(
            Connection(
                **parse_url(self._settings.url.get_secret_value()),
                timeout=self._settings.connect_timeout_seconds,
                application_name="image-processing",
                tcp_keepalive=True,
            )
        )
        return self._local.own.connection

    def disconnect(self) -> None:
        """Close this thread's connection, if it has one."""
        self._local.own = None

    def _roll_back(self, connection: Connection) -> None:
        try:
            connection.run("ROLLBACK")
        except (*_CONNECTION_LOST, DatabaseError):
            self.disconnect()


@contextmanager
def translating() -> Iterator[None]:
    """The driver's errors become ours."""
    try:
        yield
    except _CONNECTION_LOST as error:
        raise Unavailable("The database is out of reach") from error
    except DatabaseError as error:
        raise _translate(error) from error


def open_for_migrations(settings: DatabaseSettings) -> pg8000.dbapi.Connection:
    """A DB-API connection, which is what Alembic needs."""
    return pg8000.dbapi.connect(**parse_url(settings.url.get_secret_value()))


def _translate(error: DatabaseError) -> Exception | DatabaseError:
    report = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    sqlstate = report.get("C", "")
    if sqlstate.startswith("23"):
        return ConstraintViolated(sqlstate, report.get("n", ""))
    if sqlstate.startswith(_TRANSIENT) or not sqlstate:
        return Unavailable("The database cannot answer now")
    return error
