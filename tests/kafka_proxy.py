"""A proxy between a client and a real Kafka broker, which returns errors while a test wants it to."""

import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kafka.protocol.metadata import MetadataResponse
from kafka.protocol.producer import ProduceRequest, ProduceResponse

PRODUCE, LIST_OFFSETS, METADATA = 0, 2, 3
UNKNOWN_SERVER_ERROR, UNKNOWN_TOPIC, TOPIC_AUTHORIZATION_FAILED = -1, 3, 29
SILENCE = -1000
"""No error code: a produce request gets no response at all."""


class KafkaProxy(socketserver.ThreadingTCPServer):
    """Forward everything, except for the error codes in `produce` and `topics`. None forwards responses unchanged."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        host, port = upstream.split(":")
        self.upstream = host, int(port)
        self.produce: int | None = None
        self.topics: int | None = None
        self.silent: set[int] = set()
        """Kinds of requests that get no response."""
        self.connections = 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def address(self) -> str:
        host, port = self.server_address[:2]
        return f"{host!s}:{port}"

    def get_request(self) -> tuple[socket.socket, Any]:
        self.connections += 1
        return super().get_request()

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def change(self, key: int, version: int, response: bytes) -> bytes:
        return _change(MetadataResponse, version, response, self._change_metadata) if key == METADATA else response

    def reject(self, version: int, request: bytes) -> bytes:
        """Return an error for a produce request, which the broker does not receive."""
        decoded = ProduceRequest[version].decode(request, header=True)
        topics = [
            ProduceResponse.TopicProduceResponse(
                version=version,
                name=topic.name,
                partition_responses=[
                    ProduceResponse.TopicProduceResponse.PartitionProduceResponse(
                        version=version, index=each.index, error_code=self.produce, base_offset=-1
                    )
                    for each in topic.partition_data
                ],
            )
            for topic in decoded.topic_data
        ]
        tags: bytes = b"\0" * ProduceResponse.flexible_version_q(version)
        return request[4:8] + tags + bytes(ProduceResponse(version=version, responses=topics).encode())

    def _change_metadata(self, response: Any) -> None:
        for broker in response.brokers:  # so that the client stays on the proxy
            broker.host, broker.port = self.server_address[:2]
        if self.topics == UNKNOWN_TOPIC:
            response.topics = []
        elif self.topics is not None:
            for topic in response.topics:
                topic.error_code, topic.partitions = self.topics, []


def _change(form: Any, version: int, response: bytes, change: Callable[[Any], None]) -> bytes:
    head = 4 + form.flexible_version_q(version)  # the correlation ID, and in flexible versions an empty list of tags
    decoded = form[version].decode(response[head:])
    change(decoded)
    return response[:head] + bytes(decoded.encode())


class _Connection(socketserver.BaseRequestHandler):
    server: KafkaProxy

    def handle(self) -> None:
        pending: dict[int, tuple[int, int]] = {}
        with suppress(OSError), socket.create_connection(self.server.upstream) as broker:
            responses = threading.Thread(target=self._forward_responses, args=[broker, pending], daemon=True)
            responses.start()
            while request := _read_frame(self.request):
                key, version, correlation = struct.unpack_from(">hhi", request)
                if key in self.server.silent or (key == PRODUCE and self.server.produce == SILENCE):
                    continue
                if key == PRODUCE and self.server.produce is not None:
                    _write_frame(self.request, self.server.reject(version, request))
                    continue
                pending[correlation] = key, version
                _write_frame(broker, request)

    def _forward_responses(self, broker: socket.socket, pending: dict[int, tuple[int, int]]) -> None:
        with suppress(OSError):
            while response := _read_frame(broker):
                [correlation] = struct.unpack_from(">i", response)
                _write_frame(self.request, self.server.change(*pending.pop(correlation), response))
        with suppress(OSError):
            self.request.shutdown(socket.SHUT_RDWR)


def _read_frame(sock: socket.socket) -> bytes:
    head = _read_exactly(sock, 4)
    return _read_exactly(sock, struct.unpack(">i", head)[0]) if head else b""


def _read_exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            return b""
        data += piece
    return data


def _write_frame(sock: socket.socket, frame: bytes) -> None:
    sock.sendall(struct.pack(">i", len(frame)) + frame)
