"""PostgreSQL's wire, between a client and the real server: counts what the client sends."""

import socket
import socketserver
import struct
import threading
from contextlib import suppress
from urllib.parse import quote, urlunsplit

from shared_lib.addresses import read_database_url

QUERY, PARSE, SYNC = b"Q", b"P", b"S"


class PostgresProxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.upstream = read_database_url(url)
        self.sent: list[str] = []
        """Each transaction's begin and end and each of its statements, in order."""
        self.round_trips = 0
        """Number of times the client waited for the server to be ready again."""
        self.loses_commits = False
        """A commit reaches the server, but the client's connection is closed before the answer."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        user, password = quote(self.upstream.user), quote(self.upstream.password or "")
        location = f"{user}:{password}@127.0.0.1:{self.server_address[1]}"
        return urlunsplit(("postgresql", location, f"/{self.upstream.database}", "sslmode=disable", ""))

    @property
    def transactions(self) -> list[str]:
        return [sql for sql in self.sent if sql.startswith("BEGIN")]

    @property
    def statements(self) -> list[str]:
        """All that a transaction is made for."""
        return [sql for sql in self.sent if not sql.startswith(("BEGIN", "SELECT set_config(", "COMMIT", "ROLLBACK"))]

    def forget(self) -> None:
        self.sent.clear()
        self.round_trips = 0

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Connection(socketserver.BaseRequestHandler):
    server: PostgresProxy

    def handle(self) -> None:
        with self._connect() as upstream:
            threading.Thread(target=_copy, args=[upstream, self.request], daemon=True).start()
            with suppress(OSError, EOFError):
                [length] = struct.unpack("!I", header := _read(self.request, 4))  # the startup message has no type
                upstream.sendall(header + _read(self.request, length - 4))
                commits = False
                while True:
                    header = _read(self.request, 5)
                    kind, length = struct.unpack("!cI", header)
                    body = _read(self.request, length - 4)
                    self._note(kind, body)
                    commits = commits or body.startswith(b"\0COMMIT\0")
                    if kind == SYNC and commits and self.server.loses_commits:
                        self.request.shutdown(socket.SHUT_RDWR)
                    upstream.sendall(header + body)
                    commits = commits and kind != SYNC

    def _connect(self) -> socket.socket:
        if path := self.server.upstream.socket_path:
            upstream = socket.socket(socket.AF_UNIX)
            upstream.connect(path)
            return upstream
        return socket.create_connection((self.server.upstream.host, self.server.upstream.port))

    def _note(self, kind: bytes, body: bytes) -> None:
        self.server.round_trips += kind in (QUERY, SYNC)
        if kind == QUERY:
            self.server.sent.append(body[:-1].decode())
        elif kind == PARSE:
            self.server.sent.append(body.split(b"\0")[1].decode())  # after the name


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)


def _read(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = source.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
