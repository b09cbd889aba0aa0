"""Send raw HTTP requests that client libraries would not send."""

import json
import socket
from dataclasses import dataclass
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
