"""Compare what clients were told with what the service has. Nothing is lost or double, and counts agree.

A client notes each of its requests in a history: what it sent, and how that was answered. The audit reads the rows, the
objects and the announcements, without the service's own code for any of them.
"""

import hashlib
import io
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import boto3
from kafka import KafkaConsumer, TopicPartition
from PIL import Image
from pydantic import SecretStr

from shared_lib.database.connection import Database
from shared_lib.events import COMPLETED, ProcessingFailed, ProcessingSucceeded
from shared_lib.settings import Database as DatabaseSettings

INBOX, GALLERY = "upload-images", "completed-images"
READERS = 4  # objects that are read at once
ANNOUNCED_SECONDS = 10  # for announcements that are marked as sent

_SELECT_IMAGES = """
    SELECT CAST(uuid AS text) AS uuid, filename, status, sha256, original_key, failure_code,
           NOT EXISTS (SELECT 1 FROM outbox o WHERE o.image_id = i.uuid) AS announced,
           status <> 'awaiting_upload' AND deleted_at IS NULL AS visible, deleted_at IS NOT NULL AS deleted,
           cleaned_up_at IS NOT NULL AS erased, lease_until IS NOT NULL AS held,
           thumbnail, (SELECT array_agg(r.key) FROM renditions r WHERE r.image_id = i.uuid
                       AND r.key IS NOT NULL) AS keys,
           (SELECT array_agg(r.name) FROM renditions r WHERE r.image_id = i.uuid) AS made,
           (SELECT array_agg(q.name) FROM rendition_requests q WHERE q.image_id = i.uuid
            AND q.failure_code IS NULL) AS pending,
           (SELECT count(*) FROM processing_attempts a WHERE a.image_id = i.uuid AND outcome = 'succeeded') AS successes
    FROM images i
"""
_SELECT_COUNTS = """
    SELECT status, sum(change) AS images FROM image_counts
    WHERE collection_id = '00000000-0000-0000-0000-000000000000' GROUP BY status
"""


class Answer(Enum):
    """The service's answer to a request."""

    ACCEPTED = "accepted"
    """With 2xx: the service has promised something."""
    REFUSED = "refused"
    """With an error: nothing happened."""
    UNKNOWN = "unknown"
    """Not at all, or by a store that failed on the way: it may have happened, once."""


@dataclass
class Upload:
    """One upload as its client knows it. It has a UUID, unless a direct upload was not accepted."""

    filename: str
    """Of direct uploads: unique."""
    sha256: str
    answer: Answer = Answer.UNKNOWN
    uuid: str | None = None
    failure: str | None = None
    """The code with which it has to fail, because its bytes are no image."""
    renditions: set[str] = field(default_factory=lambda: {"thumbnail"})
    """Names of those that were requested and accepted."""
    requests: int = 0
    """For further renditions, answered or not."""
    deletion: Answer | None = None


@dataclass
class Verdict:
    """The faults found, each as one line."""

    lost: list[str] = field(default_factory=list)
    double: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        columns = vars(self).items()
        return [f"{name}: {fault}" for name, found in columns for fault in found]


def read_environment(data: Path) -> dict[str, str]:
    """Return the addresses and credentials of the parts of `make run` with that data folder."""
    lines = (data / "environment").read_text().splitlines()
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}


Row = dict[str, Any]

ANNOUNCED = {"succeeded": ProcessingSucceeded.type, "failed": ProcessingFailed.type}


class Rows:
    """The rows of all images, deleted ones included."""

    def __init__(self, rows: list[Row]) -> None:
        self.all = rows
        self.visible = [row for row in rows if row["visible"]]
        self.by_uuid: Mapping[str, Row] = {row["uuid"]: row for row in rows}
        self._by_filename: Mapping[str, Row] = {row["filename"]: row for row in self.visible}

    def find(self, upload: Upload) -> Row | None:
        """Return the row of an upload. One that was not answered has the filename of its form."""
        return self.by_uuid.get(upload.uuid) if upload.uuid else self._by_filename.get(upload.filename)


class Audit:
    """An audit of a service over its restarts: what was read once is not read again."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._read: set[str] = set()  # keys
        self._offsets: dict[int, int] = {}
        self._announced: defaultdict[str, set[str]] = defaultdict(set)

    def find_unsettled(self, history: Iterable[Upload], *, at_end: bool = True) -> list[str]:
        """Return what the service still has to do. `at_end` includes the erasure of deleted images.

        A direct upload that was deleted at once is erased after some minutes: it may still be writing its original.
        """
        rows = Rows(self._select(_SELECT_IMAGES))
        found = [(upload, row) for upload in history if (row := rows.find(upload)) and row["visible"]]
        waiting = [f"{row['uuid']} is {row['status']}" for _, row in found if _is_on_its_way(row)]
        waiting += [f"{row['uuid']} was refused" for upload, row in found if upload.answer is Answer.REFUSED]
        waiting += [f"{row['uuid']} is not erased" for row in rows.all if at_end and _is_left_over(row)]
        return waiting + self._find_stray_uploads(rows, at_end=at_end)

    def judge(self, history: list[Upload], *, at_end: bool = True) -> Verdict:
        """Audit everything, when the service has settled. Objects of deleted images have to be gone `at_end`."""
        rows = Rows(self._select(_SELECT_IMAGES))
        self._await_announcements(rows)
        stored = self._list(GALLERY)
        verdict = Verdict()
        for upload in history:
            self._judge_upload(upload, rows.find(upload), stored, verdict)
        verdict.lost += self._find_damaged(rows.visible, stored)
        verdict.double += _find_strangers(history, rows)
        verdict.orphans += self._find_orphans(rows, stored - _list_unconfirmed(history, rows), at_end=at_end)
        verdict.counts += self._compare_counts(rows.visible)
        return verdict

    def accept_lost_log(self) -> None:
        """Count ends as read that were announced before the disk of the broker lost its log, and read it anew."""
        for row in Rows(self._select(_SELECT_IMAGES)).all:
            if row["announced"] and row["status"] in ANNOUNCED:
                self._announced[row["uuid"]].add(ANNOUNCED[row["status"]])
        self._offsets = {}

    def _find_orphans(self, rows: Rows, stored: set[str], *, at_end: bool) -> Iterator[str]:
        """Yield the objects that no row accounts for."""
        named = {key for row in rows.visible for key in _list_keys(row)}
        being_erased = set() if at_end else _list_being_erased(rows)
        yield from sorted(key for key in stored - named if not {key, key.partition("/")[0]} & being_erased)
        yield from self._find_stray_uploads(rows, at_end=at_end)
        if at_end:
            yield from (f"{row['uuid']} is deleted but not erased" for row in rows.all if _is_left_over(row))

    def _find_stray_uploads(self, rows: Rows, *, at_end: bool) -> list[str]:
        """Return the objects in the inbox that the service has not processed yet, or has not removed afterward."""
        kept = {row["uuid"] for row in rows.visible if row["status"] == "failed"}  # for some days
        if not at_end:
            kept |= _list_being_erased(rows)
        return sorted(f"{key} in the inbox" for key in self._list(INBOX) - kept)

    def _judge_upload(self, upload: Upload, row: Row | None, stored: set[str], verdict: Verdict) -> None:
        """Find what is wrong with one upload."""
        label = f"{upload.filename} ({row['uuid'] if row else upload.uuid}, {upload.answer.value})"
        if row is None or not row["visible"]:
            if upload.answer is Answer.ACCEPTED and upload.deletion is None:
                verdict.lost.append(f"{label} has no image")
            return
        if upload.answer is Answer.REFUSED:
            verdict.double.append(f"{label} became an image all the same, {row['status']}")
            return
        if upload.deletion is Answer.ACCEPTED:
            verdict.double.append(f"{label} is there after its deletion")
        verdict.lost += [f"{label} {fault}" for fault in self._describe_faults(upload, row, stored)]
        # An attempt is for the image itself, or for renditions that were requested later.
        if row["successes"] > 1 + upload.requests:
            verdict.double.append(f"{label} was processed {row['successes']} times")

    def _describe_faults(self, upload: Upload, row: Row, stored: set[str]) -> Iterator[str]:
        if _is_on_its_way(row):
            yield f"is still {row['status']}, renditions to be made: {row['pending']}"
            return
        if row["failure_code"] != upload.failure and upload.answer is Answer.ACCEPTED:
            yield f"is {row['status']} ({row['failure_code']})"
        if ANNOUNCED[row["status"]] not in self._announced[row["uuid"]]:
            yield f"was not announced as {row['status']}"
        if row["status"] == "succeeded":
            if row["sha256"] != upload.sha256:
                yield "has other bytes"
            if missing := upload.renditions - set(row["made"] or ()):
                yield f"lacks {missing}"
            yield from (f"lacks {key}" for key in _list_keys(row) - stored)
            if not _is_whole("thumbnail", row["thumbnail"]):
                yield "'s thumbnail is damaged"

    def _find_damaged(self, rows: Iterable[Row], stored: set[str]) -> list[str]:
        """Read every object that rows name and that was not read before, and return those that are not whole."""
        keys = sorted({key for row in rows for key in _list_keys(row)} & stored - self._read)
        client = self._connect_store()
        with ThreadPoolExecutor(READERS) as pool:
            whole = pool.map(
                lambda key: _is_whole(key, client.get_object(Bucket=GALLERY, Key=key)["Body"].read()), keys
            )
            damaged = [key for key, is_whole in zip(keys, whole, strict=True) if not is_whole]
        self._read |= set(keys)
        return [f"{key} is damaged" for key in damaged]

    def _compare_counts(self, visible: Iterable[Row]) -> list[str]:
        counted = {row["status"]: int(row["images"]) for row in self._select(_SELECT_COUNTS) if row["images"]}
        there = Counter(row["status"] for row in visible)
        return [] if counted == there else [f"{counted} is counted, and {dict(there)} is there"]

    def _await_announcements(self, rows: Rows) -> None:
        """Read them until those of all rows are there: the end that a broker reports may be that of a moment ago."""
        marked = {row["uuid"] for row in rows.visible if row["announced"]}
        deadline = time.monotonic() + ANNOUNCED_SECONDS
        servers = read_environment(self._data)["KAFKA_BOOTSTRAP_SERVERS"]
        with closing(KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)) as consumer:
            self._read_announcements(consumer)
            while marked - self._announced.keys() and time.monotonic() < deadline:
                time.sleep(0.5)
                self._read_announcements(consumer)

    def _read_announcements(self, consumer: KafkaConsumer) -> None:
        """Read the announcements that came since the last time."""
        partitions = [TopicPartition(COMPLETED, each) for each in consumer.partitions_for_topic(COMPLETED) or ()]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        for each in partitions:
            consumer.seek(each, self._offsets.get(each.partition, 0))
        while any(consumer.position(each) < ends[each] for each in partitions):
            for records in consumer.poll(timeout_ms=500).values():
                for record in records:
                    self._announced[record.key.decode()].add(dict(record.headers)["ce_type"].decode())
        self._offsets = {each.partition: consumer.position(each) for each in partitions}

    def _select(self, sql: str) -> list[Row]:
        database = Database(
            DatabaseSettings(url=SecretStr(read_environment(self._data)["DATABASE_URL"]), statement_timeout_seconds=30)
        )
        try:
            with database.transaction() as tx:
                return tx.rows(sql)
        finally:
            database.disconnect()

    def _list(self, bucket: str) -> set[str]:
        pages = self._connect_store().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {each["Key"] for page in pages for each in page.get("Contents", ())}

    def _connect_store(self) -> Any:  # noqa: ANN401  boto3 has no types of its own
        environ = read_environment(self._data)
        return boto3.client(
            "s3",
            endpoint_url=environ["S3_ENDPOINT_URL"],
            aws_access_key_id=environ["S3_ACCESS_KEY_ID"],
            aws_secret_access_key=environ["S3_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )


def _is_on_its_way(row: Row) -> bool:
    # A failed image keeps its requests for further renditions: they are made if it is tried again.
    pending = row["pending"] if row["status"] == "succeeded" else None
    return row["visible"] and (row["status"] not in ANNOUNCED or row["held"] or pending or not row["announced"])


def _is_left_over(row: Row) -> bool:
    return row["deleted"] and not row["erased"]


def _list_being_erased(rows: Rows) -> set[str]:
    """Return the uuids of deleted images whose objects may still be there, and the keys of their originals."""
    return {key for row in rows.all if _is_left_over(row) for key in (row["original_key"], row["uuid"])}


def _list_unconfirmed(history: Iterable[Upload], rows: Rows) -> set[str]:
    """Return the keys of originals of uploads that were interrupted.

    Either a hidden row names the original, and reconciliation deletes both after a quarter of an hour. Or a crash has
    taken PostgreSQL's last commits, which need not be durable before an upload is confirmed, and the client has no
    answer: the nightly comparison deletes the original.
    """
    hidden = {row["original_key"] for row in rows.all if not row["visible"] and not row["deleted"]}
    return hidden | {f"originals/{each.sha256}.jpg" for each in history if each.answer is Answer.UNKNOWN}


def _list_keys(row: Row) -> set[str]:
    return {*(row["keys"] or ()), *filter(None, [row["original_key"]])}


def _is_whole(key: str, data: bytes) -> bool:
    if key.startswith("originals/"):
        return hashlib.sha256(data).hexdigest() in key
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
    except OSError:
        return False
    return True


def _find_strangers(history: Iterable[Upload], rows: Rows) -> list[str]:
    """Return visible images that no client has uploaded, or that one upload has made besides another."""
    uploads = {row["uuid"] for upload in history if (row := rows.find(upload))}
    return [f"{row['filename']} ({row['uuid']}) is of no upload" for row in rows.visible if row["uuid"] not in uploads]
