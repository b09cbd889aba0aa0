"""MinIO's bucket notifications, for a store that has none.

SeaweedFS tells a webhook of every entry that changes; from that the very message is made which MinIO would have
written to Kafka: same fields in the same order, same escaping, same key. What comes after cannot tell the difference.
"""

import base64
import json
import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from kafka import KafkaProducer

from infra.local.ports import LOOPBACK

log = logging.getLogger(__name__)

TOPIC = "bucket-events"
KEEP_MS = 600_000  # how long a message waits for Kafka
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


class Receiver(ThreadingHTTPServer):
    """The webhook. SeaweedFS tells of each change once and never again, so it only has to be heard here.

    From there on the producer keeps a message until Kafka has it, in memory: as MinIO without a queue directory, what
    a crash loses is found again by `reconcile_images`.
    """

    daemon_threads = True

    def __init__(self, port: int, servers: str, token: str) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.authorization = f"Bearer {token}".encode()
        self._servers = servers
        self._first = threading.Lock()

    @cached_property
    def _producer(self) -> KafkaProducer:
        return KafkaProducer(
            bootstrap_servers=self._servers.split(","),
            acks="all",
            bootstrap_timeout_ms=KEEP_MS,
            max_block_ms=KEEP_MS,
            delivery_timeout_ms=KEEP_MS,
        )

    def publish(self, message: Message) -> None:
        with self._first:
            producer = self._producer
        sent = producer.send(TOPIC, key=message.key, value=message.value)
        sent.add_errback(lambda error: log.error("lost a notification for %s: %r", message.key.decode(), error))

    def server_close(self) -> None:
        super().server_close()
        if "_producer" in self.__dict__:
            self._producer.close(timeout=FLUSH_SECONDS)


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
            self.server.publish(message)

    def _answer(self, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_line: object) -> None:
        """One line per notification would drown the others."""
