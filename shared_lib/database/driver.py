"""The driver's connection, except that several statements take one round trip together. pg8000 takes two for each.

pg8000 waits until the server has parsed a statement before it sends the parameters, and has the server send each answer
by itself. Nothing here depends on these answers, as all parameters are sent as text. A connection keeps the statements
that are `Prepared`, unless its settings forbid that. The server then describes their rows only once.

A connection that has not read an answer to its end, for whatever reason, is of no use any more: what it reads next
would be the rest of that answer. It then only lets itself be closed.

This needs internals of pg8000. `tests/contracts/test_driver.py` lists them, and fails if another version changes them.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

from pg8000.converters import make_params
from pg8000.core import (
    BIND,
    COMMAND_COMPLETE,
    DESCRIBE,
    EXECUTE_MSG,
    IDLE,
    NULL_BYTE,
    PARSE,
    PARSE_COMPLETE,
    PORTAL,
    READY_FOR_QUERY,
    SYNC_MSG,
    Context,
    H_pack,
    _create_message,
    _flush,
    _read,
    _write,
    ci_unpack,
    i_pack,
)
from pg8000.exceptions import InterfaceError
from pg8000.native import Connection, to_statement

_UNUSABLE = ("0A000", "26000")
"""SQLSTATEs of a prepared statement whose result has other types since a migration, and of one that is gone."""

Rows = list[dict[str, Any]]


class Prepared(str):
    """SQL that a connection has the server parse once, and plan a few times.

    For statements that each request or image costs, and whose best plan is the same for all parameters. After five
    plans of its own for each call, the server keeps one: PostgreSQL's documentation of PREPARE.
    """

    __slots__ = ()


class Statement(NamedTuple):
    sql: str
    """With named parameters (`:name`)."""
    parameters: dict[str, Any]


class PipelinedConnection(Connection):  # type: ignore[misc]  # pg8000 ships no types
    is_in_step = False
    """The last answer was read to its end."""

    def __init__(self, *, prepares: bool, **options: Any) -> None:  # noqa: ANN401  whatever the driver takes
        super().__init__(**options)
        self._prepares = prepares
        self._prepared: dict[str, bytes] = {}  # names by SQL
        self._described: dict[str, tuple[Any, Any]] = {}  # columns of prepared statements, and what reads their values
        self._numbers = itertools.count()
        self.is_in_step = True

    @property
    def is_in_transaction(self) -> bool:
        return self._transaction_status not in (None, IDLE)

    def close(self) -> None:
        self.is_in_step = False
        super().close()

    def run_all(self, *statements: Statement) -> list[Rows]:
        """Run statements in one round trip, and return the rows of each.

        The server skips all that follow the first one that fails, also a COMMIT. Then its error is raised. Raises
        TypeError, and sends nothing, if a statement lacks a parameter, and InterfaceError if the connection is lost.
        """
        if not self.is_in_step:
            raise InterfaceError("connection is closed")
        parsing: list[tuple[str, bytes]] = []  # the statement and the name of each that the server has to parse
        messages = [b"".join(self._compose(statement, parsing)) for statement in statements]
        sent = [Context(sql, None, *self._described.get(sql, ())) for sql, _ in statements]
        self.is_in_step = False
        try:
            for message in (*messages, SYNC_MSG):
                _write(self._sock, message)
            _flush(self._sock)
            error = self._read_answers(sent, parsing)
        except OSError as lost:  # the driver translates some
            raise InterfaceError("network error") from lost
        self.is_in_step = True
        if error:
            self._raise(error)
        return [_to_dictionaries(each) for each in sent]

    def _read_answers(self, sent: list[Context], parsing: list[tuple[str, bytes]]) -> Exception | None:
        """Read the rows of each statement, until the server is ready. Return the error of the one that failed."""
        waiting, unparsed = iter(sent), iter(parsing)
        current = next(waiting)
        code = None
        while code != READY_FOR_QUERY:
            code, length = ci_unpack(_read(self._sock, 5))
            self.message_types[code](_read(self._sock, length - 4), current)
            if code == PARSE_COMPLETE:
                sql, name = next(unparsed)
                if name:
                    self._prepared[sql] = name
            if code == COMMAND_COMPLETE and not current.error:
                if current.statement in self._prepared:
                    self._described[current.statement] = (current.columns, current.input_funcs)
                current = next(waiting, current)
        return current.error  # type: ignore[no-any-return]

    def _raise(self, error: Exception) -> NoReturn:
        if isinstance(error, InterfaceError):  # so the driver reports a COMMIT that the server made a ROLLBACK
            raise RuntimeError("A statement failed before COMMIT: nothing was committed") from error  # noqa: TRY004
        if error.args[0].get("C") in _UNUSABLE:
            self._prepared.clear()
            self._described.clear()
        raise error

    def _compose(self, statement: Statement, parsing: list[tuple[str, bytes]]) -> Iterator[bytes]:
        sql, order = _parse(statement.sql)
        try:
            given = order(statement.parameters)
        except InterfaceError as error:  # a lost connection has the same type
            raise TypeError(f"{error}") from error
        texts = make_params(self.py_types, given)
        values = b"".join(self._encode(text) for text in texts)
        name = self._prepared.get(statement.sql)
        if name is None:
            keeps = self._prepares and isinstance(statement.sql, Prepared)
            name = b"s%d" % next(self._numbers) if keeps else b""
            parsing.append((statement.sql, name))
            query = sql.encode(self._client_encoding)
            yield _create_message(PARSE, name + NULL_BYTE + query + NULL_BYTE + H_pack(0))
        yield _create_message(BIND, NULL_BYTE + name + NULL_BYTE + H_pack(0) + H_pack(len(texts)) + values + H_pack(0))
        if statement.sql not in self._described:
            yield _create_message(DESCRIBE, PORTAL + NULL_BYTE)
        yield EXECUTE_MSG

    def _encode(self, text: str | None) -> bytes:
        if text is None:
            return i_pack(-1)  # type: ignore[no-any-return]
        encoded = text.encode(self._client_encoding)
        return i_pack(len(encoded)) + encoded  # type: ignore[no-any-return]


@lru_cache(maxsize=256)
def _parse(sql: str) -> tuple[str, Callable[[dict[str, Any]], tuple[Any, ...]]]:
    """Number the parameters of a statement. Return it, and what puts named ones in its order."""
    return to_statement(sql)  # type: ignore[no-any-return]


def _to_dictionaries(result: Context) -> Rows:
    names = [column["name"] for column in result.columns or []]
    return [dict(zip(names, row, strict=True)) for row in result.rows or []]
