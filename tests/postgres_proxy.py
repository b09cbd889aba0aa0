"""PostgreSQL's wire, between a client and the real server: counts what the client sends, and breaks answers."""

import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote, urlunsplit

from shared_lib.addresses import read_database_url

QUERY, PARSE, BIND, SYNC = b"Q", b"P", b"B", b"S"
READY, IDLE = b"Z", b"I"
_AROUND = ("BEGIN", "SELECT set_config(", "COMMIT", "ROLLBACK")
"""Statements that a transaction is not made for."""

Break = Callable[[bytes], bytes]
"""Returns what arrives in place of the rest of a message. If that is nothing, the connection ends."""


class PostgresProxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.upstream = read_database_url(url)
        self.sent: list[str] = []
        """Each statement, in order, also those that a transaction begins and ends with."""
        self.transactions = 0
        """Number of those that have ended."""
        self.round_trips = 0
        """Number of times the client waited for the server to be ready again."""
        self.lost = 0
        """Number of answers that were lost."""
        self._losing = ""
        self._times = 0
        self._breaking: tuple[int, Break] | None = None
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        user, password = quote(self.upstream.user), quote(self.upstream.password or "")
        location = f"{user}:{password}@127.0.0.1:{self.server_address[1]}"
        return urlunsplit(("postgresql", location, f"/{self.upstream.database}", "sslmode=disable", ""))

    @property
    def statements(self) -> list[str]:
        """All that a transaction is made for."""
        return [sql for sql in self.sent if not sql.startswith(_AROUND)]

    def lose_answer(self, to: str = "", times: int = 1) -> None:
        """Close the client's connection in place of the answer to the next transactions that have such a statement.

        The server has committed them by then.
        """
        self._losing, self._times = to, times

    def is_losing(self, statements: list[str]) -> bool:
        return self._times > 0 and any(self._losing in sql for sql in statements)

    def note_loss(self) -> None:
        self._times -= 1
        self.lost += 1

    def break_answer(self, after: int, by: "Break") -> None:
        """Call `by` once that many more bytes of answers have arrived, with what is left to arrive of the message."""
        self._breaking = (after, by)

    def mend(self) -> None:
        self._breaking = None

    def find_break(self, size: int) -> tuple[int, "Break"] | None:
        """Return where to break a message of this size, if it is the one."""
        if self._breaking is None:
            return None
        after, by = self._breaking
        self._breaking = None if after < size else (after - size, by)
        return (after, by) if after < size else None

    def forget(self) -> None:
        self.sent.clear()
        self.transactions = self.round_trips = 0

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Connection(socketserver.BaseRequestHandler):
    server: PostgresProxy

    def handle(self) -> None:
        self._prepared: dict[bytes, str] = {}  # statements by name; the one parsed last has none
        self._transaction: list[str] = []  # statements; the client sends no more before the server is ready
        with self._connect() as upstream:
            threading.Thread(target=self._answer, args=[upstream], daemon=True).start()
            with suppress(OSError, EOFError):
                [length] = struct.unpack("!I", header := _read(self.request, 4))  # the startup message has no type
                upstream.sendall(header + _read(self.request, length - 4))
                while True:
                    kind, message = _read_message(self.request)
                    self._note(kind, message[5:])
                    upstream.sendall(message)

    def _connect(self) -> socket.socket:
        if path := self.server.upstream.socket_path:
            upstream = socket.socket(socket.AF_UNIX)
            upstream.connect(path)
            return upstream
        return socket.create_connection((self.server.upstream.host, self.server.upstream.port))

    def _note(self, kind: bytes, body: bytes) -> None:
        self.server.round_trips += kind in (QUERY, SYNC)
        if kind == PARSE:
            name, query, _ = body.split(b"\0", 2)
            self._prepared[name] = query.decode()
        elif kind in (QUERY, BIND):
            sql = body[:-1].decode() if kind == QUERY else self._prepared[body.split(b"\0", 2)[1]]  # after the portal
            self.server.sent.append(sql)
            self._transaction.append(sql)

    def _answer(self, upstream: socket.socket) -> None:
        """Send the server's answers, each message as it comes, unless the transaction's last answer is to be lost."""
        held = b""
        with suppress(OSError, EOFError):
            while True:
                kind, message = _read_message(upstream)
                held += message
                is_losing = self.server.is_losing(self._transaction)
                if kind == READY and message[5:] == IDLE and self._transaction:
                    self.server.transactions += 1
                    self._transaction.clear()
                    if is_losing:
                        self.server.note_loss()
                        self.request.shutdown(socket.SHUT_RDWR)
                        return
                if kind == READY or not is_losing:
                    self._send(held)
                    held = b""

    def _send(self, messages: bytes) -> None:
        if found := self.server.find_break(len(messages)):
            after, by = found
            self.request.sendall(messages[:after])
            messages = by(messages[after:])
            if not messages:
                self.request.shutdown(socket.SHUT_RDWR)
                raise EOFError
        self.request.sendall(messages)


def _read_message(source: socket.socket) -> tuple[bytes, bytes]:
    """Return a message's type, and all of it."""
    header = _read(source, 5)
    kind, length = struct.unpack("!cI", header)
    return kind, header + _read(source, length - 4)


def _read(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = source.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
