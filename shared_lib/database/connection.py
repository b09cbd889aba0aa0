"""Connections and transactions: the only room that knows the driver (pg8000).

A process has a small pool of connections, opened on first use and again after they broke. Statements take named
parameters (`:name`) and answer rows as dictionaries.
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
from shared_lib.errors import Misconfigured, Unavailable
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
_CLIENT_WAITS_LONGER = 1.0  # seconds: it is the server that ends a statement, while it can


class PostgresError(Exception):
    """What the server said: its SQLSTATE and its message. Not the details, which quote what is in a row."""


class ConstraintViolated(Exception):
    """A statement broke a constraint; `sqlstate` and `constraint` say which."""

    def __init__(self, sqlstate: str, constraint: str) -> None:
        super().__init__(f"{constraint} ({sqlstate})")
        self.sqlstate = sqlstate
        self.constraint = constraint


Opened = TypeVar("Opened")


def _open(
    connect: Callable[..., Opened], address: DatabaseAddress, connect_timeout: float, timeout: float | None
) -> Opened:
    """
    The driver's connection, by whichever of its classes, on a socket that is connected within `connect_timeout` s.

    From then on each wait for the server is of `timeout` s at most.
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
        if said := _find_server_word(error):
            raise said from None
        raise


def _find_server_word(error: BaseException) -> DatabaseError | None:
    """Why the server hung up, where the driver's farewell to it failed and raised an error of its own."""
    said: BaseException | None = error
    while said is not None and not isinstance(said, DatabaseError):
        said = said.__context__
    return said


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
    """What libpq's sslmode is to the driver; None is its own way to prefer."""
    if address.socket_path:
        return False
    if address.ssl_mode in ("verify-ca", "verify-full"):
        context = ssl.create_default_context(cafile=address.ssl_root_certificate)
        context.check_hostname = address.ssl_mode == "verify-full"
        return context
    return {"disable": False, "prefer": None, "require": True}[address.ssl_mode]


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


class Database:
    """A PostgreSQL database, reached by `pool_size` connections at most, which threads borrow for a transaction."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._free = threading.BoundedSemaphore(settings.pool_size)
        self._idle: list[Connection] = []  # the last one used is the first to be used again

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """
        Commit when the block ends, roll back when it raises. No statement takes longer than its timeout.

        Raises Unavailable when the database is out of reach (what a lost COMMIT did is then unknown) or takes too long,
        Misconfigured when it is reached and refuses us, and ConstraintViolated when a statement breaks one.
        """
        if not self._free.acquire(timeout=self._settings.statement_timeout_seconds):
            raise Unavailable("All connections to the database are in use: try again later")
        try:
            with translating():
                yield from self._run()
        finally:
            self._free.release()

    def _run(self) -> Iterator[Transaction]:
        connection = self._begin()
        try:
            yield Transaction(connection)
            connection.run("COMMIT")
        except _CONNECTION_LOST:
            _close(connection)
            raise
        except BaseException:
            self._roll_back(connection)
            raise
        self._idle.append(connection)

    def ping(self) -> None:
        with self.transaction() as tx:
            tx.row("SELECT 1")

    def _begin(self) -> Connection:
        """A connection inside a transaction. One that broke while idle is replaced once, unseen by the caller."""
        # Set with each transaction and not once with the connection, which a pooler may share among many.
        begin = f"BEGIN; SET LOCAL statement_timeout = {self._settings.statement_timeout_seconds * 1000:.0f}"
        with suppress(*_CONNECTION_LOST, DatabaseError, IndexError):
            connection = self._idle.pop()
            try:
                connection.run(begin)
            except BaseException:
                _close(connection)
                self.disconnect()  # what broke this one broke the others
                raise
            return connection
        connection = self._connect()
        connection.run(begin)
        return connection

    def _connect(self) -> Connection:
        settings = self._settings
        address = read_database_url(settings.url.get_secret_value())
        timeout = settings.statement_timeout_seconds + _CLIENT_WAITS_LONGER
        return _open(Connection, address, settings.connect_timeout_seconds, timeout)

    def disconnect(self) -> None:
        """Close the connections that nobody is using."""
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


def _close(connection: Connection) -> None:
    with suppress(*_CONNECTION_LOST, DatabaseError):
        connection.close()


@contextmanager
def translating() -> Iterator[None]:
    """The driver's errors become ours."""
    try:
        yield
    except _CONNECTION_LOST as error:
        if _is_refused_encryption(error):
            raise Misconfigured(DATABASE) from error
        raise Unavailable("The database is out of reach") from error
    except DatabaseError as error:
        report = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        translated = _translate(report.get("C", ""), report.get("n", ""))
        if translated is None:
            raise
        raise translated from PostgresError(f"{report.get('C', '')} {report.get('M', error)}".lstrip())


def _is_refused_encryption(error: InterfaceError | OSError) -> bool:
    """Whether the two sides cannot agree on TLS, or one does not trust the other. A connection that ends is neither."""
    if isinstance(error, ssl.SSLError):
        return not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return "refuses SSL" in str(error)  # pg8000's only word for it


def open_for_migrations(settings: DatabaseSettings) -> pg8000.dbapi.Connection:
    """A DB-API connection, which is what Alembic needs; its statements may take as long as they take."""
    address = read_database_url(settings.url.get_secret_value())
    return _open(pg8000.dbapi.Connection, address, settings.connect_timeout_seconds, None)


def _translate(sqlstate: str, constraint: str) -> Exception | None:
    """None for a mistake in a statement."""
    if sqlstate.startswith("23"):
        return ConstraintViolated(sqlstate, constraint)
    if sqlstate == _CANCELED:
        return Unavailable("The database took too long to answer: ask for less at once, or try again later")
    if sqlstate.startswith(_WRONG_SETTINGS):
        return Misconfigured(DATABASE)
    if sqlstate.startswith(_TRANSIENT) or not sqlstate:
        return Unavailable("The database cannot answer now")
    return None
