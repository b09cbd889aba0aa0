"""Certificates of an own authority, and servers that show them."""

import socket
import socketserver
import ssl
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Authority:
    """A certificate authority in a folder."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> "Authority":
        folder.mkdir()
        made = cls(folder)
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={folder.name}",
                 "-keyout", f"{folder / 'ca.key'}", "-out", f"{made.certificate}")  # fmt: skip
        return made

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.crt"

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return files with a certificate for a host name, and with its key."""
        key, request, certificate = (self.folder / f"{name}.{suffix}" for suffix in ("key", "csr", "crt"))
        extensions = self.folder / f"{name}.cnf"
        extensions.write_text(f"subjectAltName=DNS:{name}\n")
        _openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{key}", "-out", f"{request}"
        )
        signed_by = ["-CA", f"{self.certificate}", "-CAkey", f"{self.folder / 'ca.key'}", "-CAcreateserial"]
        files = ["-in", f"{request}", "-extfile", f"{extensions}", "-out", f"{certificate}"]
        _openssl("x509", "-req", "-days", "2", *signed_by, *files)
        return certificate, key


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class TlsProxy(socketserver.ThreadingTCPServer):
    """Terminates TLS in front of a server, as a load balancer does."""

    daemon_threads = True

    def __init__(self, upstream: tuple[str, int] | str, certificate: Path, key: Path, greeting: bytes = b"") -> None:
        """`upstream` may be a Unix socket. `greeting` is sent before TLS, after the client's request for it."""
        super().__init__(("127.0.0.1", 0), _Connection)
        self.upstream = upstream
        self.greeting = greeting
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server_address[1]

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Connection(socketserver.BaseRequestHandler):
    server: TlsProxy

    def handle(self) -> None:
        if self.server.greeting:
            self.request.recv(8)
            self.request.sendall(self.server.greeting)
        with (
            suppress(OSError),
            self.server.context.wrap_socket(self.request, server_side=True) as client,
            _connect(self.server.upstream) as upstream,
        ):
            threading.Thread(target=_copy, args=[upstream, client], daemon=True).start()
            _copy(client, upstream)


def _connect(upstream: tuple[str, int] | str) -> socket.socket:
    if not isinstance(upstream, str):
        return socket.create_connection(upstream)
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(upstream)
    return connected


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
