"""Make CloudEvents from Kafka records as a KafkaSource does, and encode them for HTTP in binary mode."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

REQUIRED = {"specversion", "id", "source", "type"}
CONTROL = re.compile(r"[^\t -\x7e\x80-\U0010ffff]")
BEYOND_16_BITS = re.compile(r"[\U00010000-\U0010ffff]")


class Record(Protocol):
    """The fields of kafka-python's record that are used here."""

    topic: str
    partition: int
    offset: int
    timestamp: int  # milliseconds
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


@dataclass(frozen=True)
class CloudEvent:
    """A CloudEvent: attributes under the names of the specification, and data as bytes."""

    attributes: Mapping[str, str]
    data: bytes

    def __str__(self) -> str:
        return f"{self.attributes['type']} {self.attributes['id']}"

    def extended(self, **attributes: str) -> "CloudEvent":
        return replace(self, attributes={**self.attributes, **attributes})

    def http_headers(self) -> dict[str, bytes]:
        """Encode for binary mode. Raise ValueError for a control character in an attribute."""
        headers = {
            f"ce-{name}": _header_value(value) for name, value in self.attributes.items() if name != "datacontenttype"
        }
        if content_type := self.attributes.get("datacontenttype"):
            headers["content-type"] = _header_value(content_type)
        return headers


def _header_value(value: str) -> bytes:
    """Encode like Knative's dispatcher: Latin-1, with a question mark for each UTF-16 unit outside of it."""
    if CONTROL.search(value):
        raise ValueError(f"not allowed in a header: {value!r}")
    return BEYOND_16_BITS.sub("??", value).encode("latin-1", "replace")


def from_record(record: Record, source: str) -> CloudEvent:
    """Return the CloudEvent in a record, or wrap any other record in one. `source` is the KafkaSource's path."""
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    event = _structured(record, headers) or _binary(record, headers) or _plain(record, headers, source)
    return event.extended(knativekafkapartition=f"{record.partition}", knativekafkaoffset=f"{record.offset}")


def _structured(record: Record, headers: Mapping[str, str]) -> CloudEvent | None:
    if not headers.get("content-type", "").startswith("application/cloudevents"):
        return None
    try:
        envelope: dict[str, Any] = json.loads(record.value or b"")
    except ValueError:
        return None
    if not isinstance(envelope, dict) or not envelope.keys() >= REQUIRED:
        return None
    data = json.dumps(envelope.pop("data")).encode() if "data" in envelope else b""
    attributes = {name: f"{value}" for name, value in envelope.items() if value is not None}
    return CloudEvent({"datacontenttype": "application/json", **attributes}, data)


def _binary(record: Record, headers: Mapping[str, str]) -> CloudEvent | None:
    attributes = {name.removeprefix("ce_"): value for name, value in headers.items() if name.startswith("ce_")}
    if not attributes.keys() >= REQUIRED:
        return None
    if content_type := headers.get("content-type"):
        attributes["datacontenttype"] = content_type
    return CloudEvent(attributes, record.value or b"")


def _plain(record: Record, headers: Mapping[str, str], source: str) -> CloudEvent:
    moment = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    attributes = {
        "specversion": "1.0",
        "type": "dev.knative.kafka.event",
        "source": f"{source}#{record.topic}",
        "id": f"partition:{record.partition}/offset:{record.offset}",
        "subject": f"partition:{record.partition}#{record.offset}",
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if record.key is not None:
        attributes["key"] = attributes["partitionkey"] = record.key.decode(errors="replace")
    for name, value in headers.items():
        attributes["kafkaheader" + re.sub("[^a-z0-9]", "", name.lower())] = value
        if name.lower() == "content-type":
            attributes["datacontenttype"] = value.lower()
    return CloudEvent(attributes, record.value or b"")
