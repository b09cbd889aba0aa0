"""The driver's connection, except that a statement with parameters takes one round trip instead of two.

pg8000 waits until the server has parsed a statement before it sends the parameters. They do not depend on that, as all
of them are sent as text. No statement is prepared by name, so a pooler may share the connection between transactions.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pg8000.converters import make_params
from pg8000.core import NULL_BYTE, SYNC_MSG, Context, _flush, _write
from pg8000.native import Connection, to_statement


class OneTripConnection(Connection):  # type: ignore[misc]  # pg8000 ships no types
    def run(self, sql: str, **parameters: Any) -> list[list[Any]] | None:  # noqa: ANN401  a column may hold anything
        if not parameters:
            return super().run(sql)  # type: ignore[no-any-return]
        statement, order = _parse(sql)
        texts = make_params(self.py_types, order(parameters))
        self._context = Context(statement)
        self.send_PARSE(NULL_BYTE, statement)
        self.send_DESCRIBE_STATEMENT(NULL_BYTE)
        self.send_BIND(NULL_BYTE, texts)
        self.send_EXECUTE()
        _write(self._sock, SYNC_MSG)
        _flush(self._sock)
        self.handle_messages(self._context)
        return self._context.rows  # type: ignore[no-any-return]


@lru_cache(maxsize=256)
def _parse(sql: str) -> tuple[str, Callable[[dict[str, Any]], tuple[Any, ...]]]:
    """Number the parameters of a statement. Return it, and what puts named ones in its order."""
    return to_statement(sql)  # type: ignore[no-any-return]
