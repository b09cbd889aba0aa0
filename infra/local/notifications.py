"""Produce MinIO's bucket notifications for SeaweedFS, which has none.

SeaweedFS calls a webhook for every changed entry. From each call this module writes the message that MinIO would write
to Kafka: same fields in the same order, same escaping, same key. Consumers see no difference.
"""

import base64
import json
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from kafka import KafkaProducer
from kafka.errors import KafkaError

from infra.local.event_report import Report
from infra.local.ports import LOOPBACK

log = logging.getLogger(__name__)

TOPIC = "bucket-events"
MAX_AGE_SECONDS = 600.0  # after which a message is dropped if Kafka is unavailable
BATCH_SIZE = 500
RETRY_SECONDS = 1.0
GATHER_SECONDS = 0.02  # between batches: sending several messages costs little more than sending one
TIMEOUT_SECONDS = 10.0  # of a request to Kafka
FLUSH_SECONDS = 2.0  # for waiting messages when stopping
PRINCIPAL = "local"
BUCKETS = "/buckets/"


class Message(NamedTuple):
    """A Kafka record in MinIO's format."""

    key: bytes
    value: bytes


def to_message(notice: Mapping[str, Any]) -> Message | None:
    """Return MinIO's message for a change, or None if it has no content: folders, upload parts, tags."""
    entry = notice["message"].get("new_entry") or {}
    bucket, _, name = notice["key"].removeprefix(BUCKETS).partition("/")
    if not entry or entry.get("is_directory") or name.startswith(".uploads/") or not _has_new_content(notice, entry):
        return None
    extended = {key.lower(): base64.b64decode(value).decode() for key, value in entry.get("extended", {}).items()}
    action = "CompleteMultipartUpload" if "x-seaweedfs-upload-id" in extended else "Put"
    event_name, key = f"s3:ObjectCreated:{action}", f"{bucket}/{name}"
    record = _record(event_name, bucket, _object(name, entry, extended), _modified_ns(entry))
    return Message(key.encode(), _go_json({"EventName": event_name, "Key": key, "Records": [record]}))


def _has_new_content(notice: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    """Return False for an update with the same chunks: it only changes tags or metadata."""
    old = notice["message"].get("old_entry")
    return notice["event_type"] == "create" or not old or _chunks(old) != _chunks(entry)


def _chunks(entry: Mapping[str, Any]) -> list[Any]:
    return [chunk["fid"] for chunk in entry.get("chunks", [])]


def _modified_ns(entry: Mapping[str, Any]) -> int:
    moments: list[int] = [chunk["modified_ts_ns"] for chunk in entry.get("chunks", [])]
    return max([*moments, int(entry["attributes"]["mtime"]) * 10**9])


def _object(name: str, entry: Mapping[str, Any], extended: Mapping[str, str]) -> dict[str, Any]:
    attributes = entry["attributes"]
    content_type = attributes.get("mime") or "binary/octet-stream"
    metadata = {"content-type": content_type}
    for key, value in extended.items():
        if key.startswith("x-amz-meta-"):
            metadata["-".join(part.capitalize() for part in key.split("-"))] = value
    described = {
        "key": quote_plus(name),
        "size": attributes.get("file_size", 0),
        "eTag": extended.get("seaweed-x-amz-etag", ""),
        "contentType": content_type,
        "userMetadata": dict(sorted(metadata.items())),
    }
    # Go omits empty values, so an empty object has no size.
    return {key: value for key, value in described.items() if value} | {"sequencer": f"{_modified_ns(entry):X}"}


def _record(event_name: str, bucket: str, described: dict[str, Any], modified_ns: int) -> dict[str, Any]:
    now = datetime.now(UTC)
    request = {"principalId": PRINCIPAL, "region": "", "sourceIPAddress": LOOPBACK}
    return {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "awsRegion": "",
        "eventTime": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "eventName": event_name,
        "userIdentity": {"principalId": PRINCIPAL},
        "requestParameters": request,
        "responseElements": {
            "x-amz-id-2": "",
            "x-amz-request-id": f"{modified_ns:X}",
            "x-minio-deployment-id": "local",
            "x-minio-origin-endpoint": f"http://{LOOPBACK}",
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "Config",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": PRINCIPAL},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": described,
        },
        "source": {"host": LOOPBACK, "port": "", "userAgent": "SeaweedFS"},
    }


def _go_json(value: Any) -> bytes:  # noqa: ANN401  any JSON
    """Encode like Go's encoding/json: compact, UTF-8 unescaped, and characters special in HTML escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


class Outbox(threading.Thread):
    """Keep messages until Kafka has them. Reconnect after each failure, so that no producer state survives one."""

    def __init__(self, servers: str) -> None:
        super().__init__(name="outbox", daemon=True)
        self._servers = servers
        self._messages: queue.SimpleQueue[tuple[float, Message]] = queue.SimpleQueue()  # with their arrival times
        self._stopping = threading.Event()
        self._producer: KafkaProducer | None = None

    def put(self, message: Message) -> None:
        self._messages.put((time.monotonic(), message))

    def run(self) -> None:
        waiting: list[tuple[float, Message]] = []
        while not self._stopping.is_set():
            waiting += self._take(BATCH_SIZE - len(waiting), timeout_seconds=0 if waiting else 0.5)
            waiting = [each for each in self._send(waiting) if not _is_too_old(*each)]
            self._stopping.wait(RETRY_SECONDS if waiting else GATHER_SECONDS)
        self._send([*waiting, *self._take(BATCH_SIZE, timeout_seconds=0)])
        self._disconnect()

    def stop(self) -> None:
        """Try once more to send the waiting messages, and end the thread."""
        self._stopping.set()
        self.join(FLUSH_SECONDS)

    def _take(self, count: int, timeout_seconds: float) -> Iterable[tuple[float, Message]]:
        """Yield up to `count` messages. Wait for the first."""
        with suppress(queue.Empty):
            for number in range(count):
                yield self._messages.get(timeout=timeout_seconds) if number == 0 else self._messages.get_nowait()

    def _send(self, messages: list[tuple[float, Message]]) -> list[tuple[float, Message]]:
        """Send messages, and return those that Kafka did not accept."""
        if not messages:
            return []
        try:
            producer = self._producer = self._producer or self._connect()
            sent = [producer.send(TOPIC, key=each.key, value=each.value) for _, each in messages]
        except KafkaError as error:
            self._log_failure(len(messages), error)
            return messages
        deadline = time.monotonic() + TIMEOUT_SECONDS
        errors = [_wait_for_error(each, deadline) for each in sent]
        if failed := [each for each in errors if each]:
            self._log_failure(len(failed), failed[0])
        return [each for each, error in zip(messages, errors, strict=True) if error]

    def _connect(self) -> KafkaProducer:
        timeout = int(TIMEOUT_SECONDS * 1000)
        return KafkaProducer(
            bootstrap_servers=self._servers.split(","),
            acks="all",
            enable_idempotence=False,
            bootstrap_timeout_ms=timeout,
            max_block_ms=timeout,
            request_timeout_ms=timeout // 2,
            delivery_timeout_ms=timeout // 2,  # shorter than our wait, so that the producer can close
        )

    def _log_failure(self, count: int, error: BaseException) -> None:
        log.warning("Kafka does not accept notifications: %r; %d are waiting", error, count)
        self._disconnect()

    def _disconnect(self) -> None:
        if self._producer:
            with suppress(KafkaError):
                self._producer.close(timeout=FLUSH_SECONDS)
        self._producer = None


def _wait_for_error(sent: Any, deadline: float) -> KafkaError | None:  # noqa: ANN401  kafka-python ships no types
    try:
        sent.get(timeout=max(deadline - time.monotonic(), 0))
    except KafkaError as error:
        return error
    return None


def _is_too_old(arrived: float, message: Message) -> bool:
    too_old = time.monotonic() - arrived > MAX_AGE_SECONDS
    if too_old:
        log.error("Kafka did not accept the notification for %s within %.0f s", message.key.decode(), MAX_AGE_SECONDS)
    return too_old


class Receiver(ThreadingHTTPServer):
    """The webhook. SeaweedFS calls it once for each change and does not retry, so it only queues the message.

    The queue is in memory, as in MinIO without a queue directory. `reconcile_images` recovers what a crash loses.
    """

    daemon_threads = True

    def __init__(self, port: int, servers: str, token: str, report: Callable[[], Report] = Report) -> None:
        """`report` describes the event sources that share its process."""
        super().__init__((LOOPBACK, port), _Handler)
        self.report = report
        self.authorization = f"Bearer {token}".encode()
        self.outbox = Outbox(servers)
        self.outbox.start()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  a hook
        """Log a request's failure. A client may end its connection when it likes."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            log.error("A request to the webhook failed", exc_info=error)

    def server_close(self) -> None:
        super().server_close()
        self.outbox.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_GET(self) -> None:
        report = self.server.report()
        self._respond(report.status, report.model_dump_json().encode())

    def do_POST(self) -> None:
        if not compare_digest(self.headers.get("Authorization", "").encode(), self.server.authorization):
            self.close_connection = True
            self._respond(401)
            return
        notice = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._respond()
        if message := to_message(notice):
            self.server.outbox.put(message)

    def _respond(self, status: int = 200, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", f"{len(body)}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_line: object) -> None:
        """Log nothing: one line for each notification is too many."""
