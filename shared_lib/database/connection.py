"""Connections and transactions. Only this package uses the driver (pg8000).

A process has a small pool of connections, opened on first use and again after they broke. Statements take named
parameters (`:name`) and return rows as dictionaries.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pg8000.dbapi
from pg8000.exceptions import DatabaseError, InterfaceError
from pg8000.native import Connection

from shared_lib.addresses import DatabaseAddress, read_database_url
from shared_lib.database.driver import OneTripConnection
from shared_lib.errors import CommitUncertain, Misconfigured, Unavailable
from shared_lib.settings import Database as DatabaseSettings

DATABASE = "The database"
STILL_REFERENCED = ("23503", "23001")  # foreign_key_violation; restrict_violation since PostgreSQL 18
_CONNECTION_LOST = (InterfaceError, OSError)
_CANCELED = "57014"
# Classes 08 connection, 53 resources, 57 operator intervention, 58 system error; 40 rolled back, may be retried;
# 25P03 idle timeout, 25006 read-only, as a standby is before it takes over.
_TRANSIENT = ("08", "53", "57", "58", "25P03", "25006", "40")
# Class 28 and 42501: role, password, rights; 3D000: no such database; 3F000, 42P01, 42703: schema, table or column
# missing, because the migrations have not run.
_WRONG_SETTINGS = ("28", "3D000", "42501", "3F000", "42P01", "42703")
_CLIENT_MARGIN = 1.0  # s that the client waits longer than the server, which ends a statement while it can


class PostgresError(Exception):
    """The server's SQLSTATE and message, without the details, which quote a row's contents."""


class ConstraintViolated(Exception):
    """A statement violated a constraint."""

    def __init__(self, sqlstate: str, constraint: str) -> None:
        super().__init__(f"{constraint} ({sqlstate})")
        self.sqlstate = sqlstate
        self.constraint = constraint


Opened = TypeVar("Opened")


def _open(
    connect: Callable[..., Opened], address: DatabaseAddress, connect_timeout: float, timeout: float | None
) -> Opened:
    """
    Open a connection with one of the driver's classes, on a socket that connects within `connect_timeout` s.

    Each later wait for the server takes at most `timeout` s.
    """
    connected = _connect_socket(address, connect_timeout, timeout)
    try:
        return connect(
            user=address.user,
            password=address.password,
            database=address.database,
            host=address.host,
            sock=connected,
            ssl_context=choose_encryption(address),
            application_name="image-processing",
        )
    except (*_CONNECTION_LOST, DatabaseError) as error:
        connected.close()
        if reason := _find_server_error(error):
            raise reason from None
        raise


def _find_server_error(error: BaseException) -> DatabaseError | None:
    """Return the server's reason for closing, which the driver hides if saying goodbye fails, too."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, DatabaseError):
        found = found.__context__
    return found


def _connect_socket(address: DatabaseAddress, connect_timeout: float, timeout: float | None) -> socket.socket:
    if path := address.socket_path:
        connected = socket.socket(socket.AF_UNIX)
        connected.settimeout(connect_timeout)
        try:
            connected.connect(path)
        except OSError:
            connected.close()
            raise
    else:
        connected = socket.create_connection((address.host, address.port), connect_timeout)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.settimeout(timeout)
    return connected


def choose_encryption(address: DatabaseAddress) -> ssl.SSLContext | bool | None:
    """Return the driver's equivalent of libpq's sslmode. None means prefer."""
    if address.socket_path:
        return False
    if address.ssl_mode in ("verify-ca", "verify-full"):
        context = ssl.create_default_context(cafile=address.ssl_root_certificate)
        context.check_hostname = address.ssl_mode == "verify-full"
        return context
    return {"disable": False, "prefer": None, "require": True}[address.ssl_mode]


class Transaction:
    """Statements that take effect together or not at all."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:  # noqa: ANN401  a column may hold anything
        found = self._connection.run(sql, **parameters) or []
        names = [column["name"] for column in self._connection.columns or []]
        return [dict(zip(names, row, strict=True)) for row in found]

    def row(self, sql: str, **parameters: Any) -> dict[str, Any] | None:  # noqa: ANN401  (same)
        """The first row, or None."""
        return next(iter(self.rows(sql, **parameters)), None)


class Database:
    """A PostgreSQL database with at most `pool_size` connections, which threads borrow for a transaction."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._free = threading.BoundedSemaphore(settings.pool_size)
        self._idle: list[Connection] = []  # the most recently used one is used first

    @contextmanager
    def transaction(self, *, snapshot: bool = False, idle_seconds: float | None = None) -> Iterator[Transaction]:
        """
        Commit when the block ends, and roll back if it raises. No statement takes longer than its timeout.

        With `snapshot` all statements see the database at one moment, and write nothing. The server ends a transaction
        whose process takes longer than `idle_seconds` between two statements, by default twice as long as a statement
        may take: a process that was stopped does not hold its locks for longer.

        Raises Unavailable if the database is unreachable or takes too long, CommitUncertain if that happens while it
        ends, Misconfigured if it rejects our credentials or settings, and ConstraintViolated.
        """
        if not self._free.acquire(timeout=self._settings.statement_timeout_seconds):
            raise Unavailable("All connections to the database are in use: try again later")
        try:
            with translating():
                yield from self._run(self._compose_begin(snapshot=snapshot, idle_seconds=idle_seconds))
        finally:
            self._free.release()

    def _compose_begin(self, *, snapshot: bool, idle_seconds: float | None) -> str:
        # Set in each transaction and not once per connection, because a pooler may share connections.
        limit = self._settings.statement_timeout_seconds
        return (
            f"BEGIN{' ISOLATION LEVEL REPEATABLE READ, READ ONLY' if snapshot else ''}; "
            f"SET LOCAL statement_timeout = {limit * 1000:.0f}; "
            f"SET LOCAL idle_in_transaction_session_timeout = {(idle_seconds or 2 * limit) * 1000:.0f}"
        )

    def _run(self, begin: str) -> Iterator[Transaction]:
        connection = self._begin(begin)
        try:
            yield Transaction(connection)
            _commit(connection)
        except (*_CONNECTION_LOST, CommitUncertain):
            _close(connection)
            raise
        except BaseException:
            self._roll_back(connection)
            raise
        self._idle.append(connection)

    def ping(self) -> None:
        with self.transaction() as tx:
            tx.row("SELECT 1")

    def _begin(self, begin: str) -> Connection:
        """Return a connection inside a transaction. One that broke while idle is replaced once, silently."""
        with suppress(*_CONNECTION_LOST, DatabaseError, IndexError):
            connection = self._idle.pop()
            try:
                connection.run(begin)
            except BaseException:
                _close(connection)
                self.disconnect()  # the others are probably broken, too
                raise
            return connection
        connection = self._connect()
        connection.run(begin)
        return connection

    def _connect(self) -> Connection:
        settings = self._settings
        address = read_database_url(settings.url.get_secret_value())
        timeout = settings.statement_timeout_seconds + _CLIENT_MARGIN
        return _open(OneTripConnection, address, settings.connect_timeout_seconds, timeout)

    def disconnect(self) -> None:
        """Close the idle connections."""
        with suppress(IndexError):
            while True:
                _close(self._idle.pop())

    def _roll_back(self, connection: Connection) -> None:
        try:
            connection.run("ROLLBACK")
        except (*_CONNECTION_LOST, DatabaseError):
            _close(connection)
        else:
            self._idle.append(connection)


def _commit(connection: Connection) -> None:
    try:
        with translating():
            connection.run("COMMIT")
    except Unavailable as error:
        raise CommitUncertain(error.public) from error


def _close(connection: Connection) -> None:
    with suppress(*_CONNECTION_LOST, DatabaseError):
        connection.close()


@contextmanager
def translating() -> Iterator[None]:
    """Translate the driver's errors into the service's."""
    try:
        yield
    except _CONNECTION_LOST as error:
        if _is_tls_mismatch(error):
            raise Misconfigured(DATABASE) from error
        raise Unavailable("The database is out of reach") from error
    except DatabaseError as error:
        report = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        translated = _translate(report.get("C", ""), report.get("n", ""))
        if translated is None:
            raise
        raise translated from PostgresError(f"{report.get('C', '')} {report.get('M', error)}".lstrip())


def _is_tls_mismatch(error: InterfaceError | OSError) -> bool:
    """Return whether the sides disagree on TLS, or one distrusts the other. A connection that just ended is neither."""
    if isinstance(error, ssl.SSLError):
        return not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return "refuses SSL" in str(error)  # pg8000 raises no specific error


def open_for_migrations(settings: DatabaseSettings) -> pg8000.dbapi.Connection:
    """Open a DB-API connection, as Alembic needs it, without a limit on the time of its statements."""
    address = read_database_url(settings.url.get_secret_value())
    return _open(pg8000.dbapi.Connection, address, settings.connect_timeout_seconds, None)


def _translate(sqlstate: str, constraint: str) -> Exception | None:
    """Return the service's error for a server's error, or None for a bug in a statement."""
    if sqlstate.startswith("23"):
        return ConstraintViolated(sqlstate, constraint)
    if sqlstate == _CANCELED:
        return Unavailable("The database took too long to answer: ask for less at once, or try again later")
    if sqlstate.startswith(_WRONG_SETTINGS):
        return Misconfigured(DATABASE)
    if sqlstate.startswith(_TRANSIENT) or not sqlstate:
        return Unavailable("The database cannot answer now")
    return None
