"""Transactions, and the pool of connections that they borrow from.

A process has a small pool of connections, opened on first use and again after they broke. Statements take named
parameters (`:name`) and return rows as dictionaries.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

from pg8000.exceptions import DatabaseError, InterfaceError

from shared_lib import metrics, tracing
from shared_lib.constraints import TENANT_ID
from shared_lib.database.driver import PipelinedConnection, Prepared, Rows, Statement
from shared_lib.database.failures import has_ended, translating
from shared_lib.database.sockets import open_connection
from shared_lib.errors import CommitUncertain, Unavailable
from shared_lib.settings import Database as DatabaseSettings

ALL_TENANTS = ""
_acting_for: ContextVar[str | None] = ContextVar("tenant", default=None)


@contextmanager
def acting_for(tenant: str) -> Iterator[None]:
    """Let transactions that begin in this block, and in threads that `background` starts in it, be this tenant's.

    With ALL_TENANTS they are nobody's in particular: the database decides whether their role may do that.
    """
    token = _acting_for.set(tenant)
    try:
        yield
    finally:
        _acting_for.reset(token)


_SPAN = partial(tracing.span, "transaction", "client", {"db.system.name": "postgresql"})
_BEGIN, _COMMIT, _ROLLBACK = (Statement(sql, {}) for sql in ("BEGIN", "COMMIT", "ROLLBACK"))
_BEGIN_SNAPSHOT = Statement("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", {})


class Transaction:
    """Statements that take effect together or not at all.

    The first one is sent together with BEGIN, the `last` one with COMMIT, and a queued one with the next, each group in
    one round trip. A group that is all of a transaction needs neither: PostgreSQL takes a round trip for one. Each has
    the parameter `tenant`, unless the caller gives another: NULL if it acts for no tenant.
    """

    def __init__(
        self, connections: "_Connections", settings: Statement, tenant: str | None, *, snapshot: bool = False
    ) -> None:
        self._connections = connections
        self._settings = settings
        self._tenant = tenant
        self._is_snapshot = snapshot
        self._waiting: list[tuple[Statement, Rows]] = []
        self.connection: PipelinedConnection | None = None
        """None before the first statement."""
        self._is_whole = False
        """True if one round trip is all of it."""
        self._is_over = False

    def rows(self, sql: str, **parameters: Any) -> Rows:  # noqa: ANN401  a column may hold anything
        return self._send(self._state(sql, parameters))[-1]

    def row(self, sql: str, **parameters: Any) -> dict[str, Any] | None:  # noqa: ANN401  (same)
        """The first row, or None."""
        return next(iter(self.rows(sql, **parameters)), None)

    def queue(self, sql: str, **parameters: Any) -> Rows:  # noqa: ANN401  (same)
        """Run a statement together with the next one. Return a list that then receives its rows."""
        rows: Rows = []
        self._waiting.append((self._state(sql, parameters), rows))
        return rows

    def last(self, sql: str, **parameters: Any) -> Rows:  # noqa: ANN401  (same)
        """Run a statement and commit.

        If nothing was sent before, it and what is queued must be statements that may run twice: a connection may break
        before the answer.
        """
        return self._commit(self._state(sql, parameters))[-1]

    def commit(self) -> None:
        if self._waiting and self.connection is None:
            self._send()  # without COMMIT, which must not run twice
        if self.connection and not self._is_over:
            self._commit()

    def _state(self, sql: str, parameters: dict[str, Any]) -> Statement:
        return Statement(sql, {"tenant": self._tenant, **parameters})

    def _commit(self, *statements: Statement) -> list[Rows]:
        """Return the rows of each statement."""
        self._is_whole = self.connection is None and not self._is_snapshot
        try:
            found = self._send(*statements) if self._is_whole else self._send(*statements, _COMMIT)[:-1]
        except (InterfaceError, DatabaseError) as error:
            if has_ended(error):
                raise CommitUncertain("The database is out of reach") from error
            raise
        self._is_over = True
        return found

    def _send(self, *statements: Statement) -> list[Rows]:
        waiting, self._waiting = self._waiting, []
        sent = (*(statement for statement, _ in waiting), *statements)
        found = self.connection.run_all(*sent) if self.connection else self._start(*sent)
        for (_, rows), its_own in zip(waiting, found, strict=False):
            rows.extend(its_own)
        return found

    def _start(self, *statements: Statement) -> list[Rows]:
        """Begin, and run the first statements. A connection that broke while it was idle is replaced once."""
        begin = [] if self._is_whole else [_BEGIN_SNAPSHOT if self._is_snapshot else _BEGIN]
        sent = (*begin, self._settings, *statements)
        self.connection, was_idle = self._connections.take()
        try:
            found = self.connection.run_all(*sent)
        except (InterfaceError, DatabaseError) as error:
            if not (was_idle and has_ended(error)):
                raise
            self.connection = self._connections.replace(self.connection)
            found = self.connection.run_all(*sent)
        return found[len(begin) + 1 :]


class _Connections:
    """Connections that are not in use. The most recently used one is used first."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._idle: list[PipelinedConnection] = []

    def take(self) -> tuple[PipelinedConnection, bool]:
        """Return a connection, and whether it was idle: it may have broken since."""
        with suppress(IndexError):
            return self._idle.pop(), True
        return self._connect(), False

    def replace(self, broken: PipelinedConnection) -> PipelinedConnection:
        """Return a new connection instead of one that broke while it was idle."""
        _close(broken)
        self.close()  # the others are probably broken, too
        return self._connect()

    def put_back(self, connection: PipelinedConnection) -> None:
        self._idle.append(connection)

    def close(self) -> None:
        with suppress(IndexError):
            while True:
                _close(self._idle.pop())

    def _connect(self) -> PipelinedConnection:
        return open_connection(self._settings)


class Database:
    """A PostgreSQL database with at most `pool_size` connections, which threads borrow for a transaction."""

    def __init__(self, settings: DatabaseSettings, tenant: str | None = None) -> None:
        self._settings = settings
        self.default_tenant = tenant
        """Whom transactions act for that are not in a block of `acting_for`. None: for all tenants."""
        self._free = threading.BoundedSemaphore(settings.pool_size)
        self._connections = _Connections(settings)

    @property
    def tenant(self) -> str | None:
        """Whom a transaction would act for now."""
        acting_for = _acting_for.get()
        return self.default_tenant if acting_for is None else acting_for or None

    @contextmanager
    def transaction(
        self, *, snapshot: bool = False, durable: bool = True, idle_seconds: float | None = None
    ) -> Iterator[Transaction]:
        """Commit when the block ends, and roll back if it raises. No statement takes longer than its timeout.

        With `snapshot` all statements see the database at one moment, and write nothing. The server ends a transaction
        whose process takes longer than `idle_seconds` between two statements, by default twice as long as a statement
        may take: a process that was stopped does not hold its locks for longer. A commit that is not `durable` may be
        lost if the server crashes within a second, as if the transaction had not been. It does not wait for the disk.

        Raises Unavailable if the database is unreachable or takes too long, CommitUncertain if that happens while it
        ends, Misconfigured if it rejects our credentials or settings, and ConstraintViolated.
        """
        if not self._free.acquire(timeout=self._settings.statement_timeout_seconds):
            raise Unavailable("All connections to the database are in use: try again later")
        try:
            with _SPAN(), metrics.TRANSACTIONS.time(_label), translating():
                local = self._state_settings(durable=durable, idle_seconds=idle_seconds)
                yield from self._run(Transaction(self._connections, local, self.tenant, snapshot=snapshot))
        finally:
            self._free.release()

    def _state_settings(self, *, durable: bool, idle_seconds: float | None) -> Statement:
        """Return the statement that makes a transaction's settings."""
        limit = self._settings.statement_timeout_seconds
        local = {
            "statement_timeout": f"{limit * 1000:.0f}",
            "idle_in_transaction_session_timeout": f"{(idle_seconds or 2 * limit) * 1000:.0f}",
        }
        if not durable:
            local["synchronous_commit"] = "off"
        if self.tenant:
            if not TENANT_ID.fullmatch(self.tenant):
                raise ValueError(f"{self.tenant!r} is no name of a tenant")
            local["app.tenant"] = self.tenant
        # Set in each transaction and not once per connection, because a pooler may share connections. In one statement:
        # each one takes as long as a simple query.
        calls = (f"set_config('{name}', :value{number}, true)" for number, name in enumerate(local))
        values = {f"value{number}": value for number, value in enumerate(local.values())}
        return Statement(Prepared(f"SELECT {', '.join(calls)}"), values)

    def _run(self, tx: Transaction) -> Iterator[Transaction]:
        try:
            yield tx
            tx.commit()
        finally:
            if tx.connection:
                self._give_back(tx.connection)

    def ping(self) -> None:
        with self.transaction() as tx:
            tx.row("SELECT 1")

    def disconnect(self) -> None:
        """Close the idle connections."""
        self._connections.close()

    def _give_back(self, connection: PipelinedConnection) -> None:
        """Keep a connection for others, but only one that has read all answers, and has no transaction open."""
        if connection.is_in_step and connection.is_in_transaction:
            with suppress(InterfaceError, DatabaseError):
                connection.run_all(_ROLLBACK)
        if connection.is_in_step and not connection.is_in_transaction:
            self._connections.put_back(connection)
        else:
            _close(connection)


def _label(error: BaseException | None) -> metrics.Transaction:
    if error is None:
        return metrics.Transaction("committed")
    return metrics.Transaction("unavailable" if isinstance(error, Unavailable) else "rolled_back")


def _close(connection: PipelinedConnection) -> None:
    with suppress(InterfaceError):
        connection.close()
