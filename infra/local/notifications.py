"""MinIO's bucket notifications, for a store that has none.

SeaweedFS tells a webhook of every entry that changes; from that the very message is made which MinIO would have
written to Kafka: same fields in the same order, same escaping, same key. What comes after cannot tell the difference.
"""

import base64
import json
import logging
import queue
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from kafka import KafkaProducer
from kafka.errors import KafkaError

from infra.local.ports import LOOPBACK

log = logging.getLogger(__name__)

TOPIC = "bucket-events"
KEEP_SECONDS = 600.0  # how long a message waits for Kafka
AT_ONCE = 500  # messages
AGAIN_AFTER_SECONDS = 1.0
ANSWER_SECONDS = 10.0  # for Kafka to answer in
FLUSH_SECONDS = 2.0  # for what still waits when asked to stop
PRINCIPAL = "local"
BUCKETS = "/buckets/"


class Message(NamedTuple):
    """A Kafka record as MinIO writes it."""

    key: bytes
    value: bytes


def message_of(notice: Mapping[str, Any]) -> Message | None:
    """What MinIO would have written of this change, or nothing: for folders, parts of uploads, tags and the like."""
    entry = notice["message"].get("new_entry") or {}
    bucket, _, name = notice["key"].removeprefix(BUCKETS).partition("/")
    if not entry or entry.get("is_directory") or name.startswith(".uploads/") or not _has_new_content(notice, entry):
        return None
    extended = {key.lower(): base64.b64decode(value).decode() for key, value in entry.get("extended", {}).items()}
    action = "CompleteMultipartUpload" if "x-seaweedfs-upload-id" in extended else "Put"
    event_name, key = f"s3:ObjectCreated:{action}", f"{bucket}/{name}"
    record = _record(event_name, bucket, _object(name, entry, extended), _modified_ns(entry))
    return Message(key.encode(), _as_go({"EventName": event_name, "Key": key, "Records": [record]}))


def _has_new_content(notice: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    """An update with the same chunks has changed tags or the like."""
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
    # Go leaves out what is empty, and so there is no size for an empty object.
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


def _as_go(value: Any) -> bytes:  # noqa: ANN401 - whatever JSON can hold
    """As Go's encoding/json writes it: compact, UTF-8 as it is, and what HTML minds escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


class Outbox(threading.Thread):
    """Keeps messages until Kafka has them. After each failure it connects anew: no state of a producer outlives one."""

    def __init__(self, servers: str) -> None:
        super().__init__(name="outbox", daemon=True)
        self._servers = servers
        self._messages: queue.SimpleQueue[tuple[float, Message]] = queue.SimpleQueue()  # each with its time of coming
        self._stopping = threading.Event()
        self._producer: KafkaProducer | None = None

    def put(self, message: Message) -> None:
        self._messages.put((time.monotonic(), message))

    def run(self) -> None:
        waiting: list[tuple[float, Message]] = []
        while not self._stopping.is_set():
            waiting += self._take(AT_ONCE - len(waiting), patience_seconds=0 if waiting else 0.5)
            waiting = [each for each in self._send(waiting) if not _is_too_old(*each)]
            if waiting:
                self._stopping.wait(AGAIN_AFTER_SECONDS)
        self._send([*waiting, *self._take(AT_ONCE, patience_seconds=0)])
        self._disconnect()

    def stop(self) -> None:
        """Try once more to send what waits."""
        self._stopping.set()
        self.join(FLUSH_SECONDS)

    def _take(self, count: int, patience_seconds: float) -> Iterable[tuple[float, Message]]:
        """What has come; if that is nothing, what comes next."""
        with suppress(queue.Empty):
            for number in range(count):
                yield self._messages.get(timeout=patience_seconds) if number == 0 else self._messages.get_nowait()

    def _send(self, messages: list[tuple[float, Message]]) -> list[tuple[float, Message]]:
        """Those that Kafka does not have."""
        if not messages:
            return []
        try:
            producer = self._producer = self._producer or self._connect()
            sent = [producer.send(TOPIC, key=each.key, value=each.value) for _, each in messages]
        except KafkaError as error:
            self._complain(len(messages), error)
            return messages
        deadline = time.monotonic() + ANSWER_SECONDS
        errors = [_wait_for_error(each, deadline) for each in sent]
        if failed := [each for each in errors if each]:
            self._complain(len(failed), failed[0])
        return [each for each, error in zip(messages, errors, strict=True) if error]

    def _connect(self) -> KafkaProducer:
        timeout = int(ANSWER_SECONDS * 1000)
        return KafkaProducer(
            bootstrap_servers=self._servers.split(","),
            acks="all",
            enable_idempotence=False,
            bootstrap_timeout_ms=timeout,
            max_block_ms=timeout,
            request_timeout_ms=timeout // 2,
            delivery_timeout_ms=timeout // 2,  # before we give up waiting: it closes when nothing is under way
        )

    def _complain(self, count: int, error: BaseException) -> None:
        log.warning("Kafka does not take notifications: %r; %d of them wait", error, count)
        self._disconnect()

    def _disconnect(self) -> None:
        if self._producer:
            with suppress(KafkaError):
                self._producer.close(timeout=FLUSH_SECONDS)
        self._producer = None


def _wait_for_error(sent: Any, deadline: float) -> KafkaError | None:  # noqa: ANN401 - kafka-python ships no types
    try:
        sent.get(timeout=max(deadline - time.monotonic(), 0))
    except KafkaError as error:
        return error
    return None


def _is_too_old(came: float, message: Message) -> bool:
    too_old = time.monotonic() - came > KEEP_SECONDS
    if too_old:
        log.error("Kafka did not take the notification for %s within %.0f s", message.key.decode(), KEEP_SECONDS)
    return too_old


class Receiver(ThreadingHTTPServer):
    """The webhook. SeaweedFS tells of each change once and never again, so it only has to be heard here.

    From there on a message is kept until Kafka has it, in memory: as MinIO without a queue directory, what a crash
    loses is found again by `reconcile_images`.
    """

    daemon_threads = True

    def __init__(self, port: int, servers: str, token: str) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.authorization = f"Bearer {token}".encode()
        self.outbox = Outbox(servers)
        self.outbox.start()

    def server_close(self) -> None:
        super().server_close()
        self.outbox.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        if not compare_digest(self.headers.get("Authorization", "").encode(), self.server.authorization):
            self.close_connection = True
            self._answer(401)
            return
        notice = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer()
        if message := message_of(notice):
            self.server.outbox.put(message)

    def _answer(self, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_line: object) -> None:
        """One line per notification would drown the others."""
