"""Send raw HTTP requests that client libraries would not send."""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from typing import Any


@dataclass
class Response:
    """A response. Empty, with status 0, if the connection closed without one."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def __bytes__(self) -> bytes:
        own = {"Host": "localhost", "Connection": "close", "Content-Length": f"{len(self.body)}"}
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in (own | dict(self.headers)).items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + self.body


def connect(
    address: tuple[str, int], raw: bytes = b"", *, client: str = "", receive_buffer: int | None = None
) -> socket.socket:
    """Connect from the local address `client`, and send these bytes."""
    connection = socket.socket()
    connection.bind((client, 0))
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(60)
    connection.connect(address)
    connection.sendall(raw)
    return connection


def read_response(connection: socket.socket) -> Response:
    with connection.makefile("rb") as stream:
        line = stream.readline()
        if not line:
            return Response(0, {}, b"")
        head = b""
        while (header := stream.readline()).strip():
            head += header
        headers = {name.lower(): value for name, value in BytesParser().parsebytes(head).items()}
        return Response(int(line.split()[1]), headers, stream.read(int(headers.get("content-length", 0))))


def exchange(address: tuple[str, int], raw: bytes, *, client: str = "") -> Response:
    with connect(address, raw, client=client) as connection:
        return read_response(connection)
