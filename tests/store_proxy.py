"""A proxy between a client and a real object store, which damages the store's answers while a test wants it to."""

import http.client
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

_OF_A_CONNECTION = {"connection", "transfer-encoding", "keep-alive"}


class Answer(NamedTuple):
    """The store's answer to a request."""

    method: str
    headers: dict[str, str]
    body: bytes

    @property
    def is_xml(self) -> bool:
        return self.body.lstrip().startswith(b"<")


def cut_documents(answer: Answer) -> Answer:
    """Cut off a document, with a length that agrees, as a store behind a buffering proxy does."""
    if not answer.is_xml:
        return answer
    body = answer.body[: len(answer.body) // 2]
    return answer._replace(headers=answer.headers | {"Content-Length": f"{len(body)}"}, body=body)


def drop_headers(answer: Answer) -> Answer:
    kept = {name: value for name, value in answer.headers.items() if name.lower() not in ("last-modified", "etag")}
    return answer._replace(headers=kept)


def break_off(answer: Answer) -> Answer:
    """Announce the whole body and send half of it."""
    return answer._replace(body=answer.body[: len(answer.body) // 2])


class StoreProxy(ThreadingHTTPServer):
    """Forward everything. `damage` changes answers of success. None forwards them unchanged."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.damage: Callable[[Answer], Answer] | None = None
        self.damaged = 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_request: object) -> None:
        """Ignore clients that are gone."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StoreProxy

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # with the client's Host, which is signed
                upstream.putheader(name, value)
            upstream.endheaders(body)
            response = upstream.getresponse()
            headers = {name: value for name, value in response.getheaders() if name.lower() not in _OF_A_CONNECTION}
            answer = Answer(self.command, headers, response.read())
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # as a store that is gone
            return
        finally:
            upstream.close()
        self._respond(response.status, answer)

    def _respond(self, status: int, answer: Answer) -> None:
        if "content-length" not in {name.lower() for name in answer.headers}:
            answer.headers["Content-Length"] = f"{len(answer.body)}"
        if status < 300 and (damage := self.server.damage):
            damaged = damage(answer)
            self.server.damaged += damaged != answer
            self.close_connection |= len(damaged.body) < int(damaged.headers["Content-Length"])
            answer = damaged
        with suppress(OSError):
            self.send_response_only(status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

    def do_GET(self) -> None:
        self._forward()

    def do_HEAD(self) -> None:
        self._forward()

    def do_PUT(self) -> None:
        self._forward()

    def do_POST(self) -> None:
        self._forward()

    def do_DELETE(self) -> None:
        self._forward()

    def log_message(self, *_line: object) -> None:
        """Log nothing."""
