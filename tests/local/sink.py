"""An HTTP server in place of a function: it responds as the test says, and records all requests."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Responder = Callable[["Request"], int]


@dataclass(frozen=True)
class Request:
    at: float
    headers: Message
    body: bytes

    @property
    def subject(self) -> str:
        return self.headers.get("ce-subject", "")


class Sink(ThreadingHTTPServer):
    """`respond` returns the status for each request, and may block."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, respond: Responder = lambda _request: 200, body: bytes = b"") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.respond = respond
        self.body = body
        self.requests: list[Request] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def bodies(self) -> list[bytes]:
        return [request.body for request in self.requests]

    def await_requests(self, count: int, seconds: float = 20.0) -> list[Request]:
        deadline = time.monotonic() + seconds
        while len(self.requests) < count:
            assert time.monotonic() < deadline, f"{len(self.requests)} requests instead of {count}"
            time.sleep(0.01)
        return self.requests

    def handle_error(self, *_request: object) -> None:
        """Ignore clients that disconnected after a timeout."""

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(time.monotonic(), self.headers, body)
        self.server.requests.append(request)
        self.send_response(self.server.respond(request))
        self.send_header("Content-Length", f"{len(self.server.body)}")
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_line: object) -> None:
        """Log nothing."""
