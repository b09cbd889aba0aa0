"""A KafkaSource: a consumer group that hands each record to its sink, and commits what has been handed over.

Delivery is at least once. Offsets are committed only up to the first record that is neither accepted nor given up, so
that after a crash a few are delivered again and none is lost.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterable

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from infra.local.cloud_event import CloudEvent, Record, from_record
from infra.local.delivery import Dispatcher, Errand, Policy
from infra.local.manifests import KafkaSource

log = logging.getLogger(__name__)

POLL_RECORDS = 50  # Knative's max.poll.records: so many at a time, and only while fewer are in flight
CONNECTIONS = 100  # to sinks, of each Kafka consumer: Knative's maxPoolSize
VIRTUAL_REPLICAS = 20  # of a source's `consumers`, in one Kafka consumer: Knative's POD_CAPACITY
COMMIT_SECONDS = 1.0  # Knative's is 5; a shorter one delivers less twice
SESSION_MS = 6_000  # how long a killed consumer keeps its partitions: kafka-python's 45 s is a long wait at a desk
POLL_MS = 100
CLOSE_MS = 1_000  # a broker that is busy forming the group answers only when that is done


class Consumption:
    """One KafkaSource at work."""

    def __init__(
        self,
        source: KafkaSource,
        servers: str,
        sink: str,
        dead_letter_sink: str | None,
        *,
        commit_seconds: float = COMMIT_SECONDS,
    ) -> None:
        self.source = source
        self.servers = servers
        self.sink = sink
        self.dead_letter_sink = dead_letter_sink
        self.commit_seconds = commit_seconds
        self.stopping = threading.Event()
        self.delivered = threading.Event()  # while stopping: what was being sent has been answered
        count = math.ceil(source.spec.consumers / VIRTUAL_REPLICAS)
        self.dispatcher = Dispatcher(Policy.of_kafka_source(source.spec.delivery), max(count, 1) * CONNECTIONS)
        self.consumers = [Consumer(self, number) for number in range(count)]

    def start(self) -> None:
        for consumer in self.consumers:
            consumer.start()

    def stop(self, patience_seconds: float) -> None:
        """Take no more; let the requests that are being made end; commit, and leave the group."""
        self.stopping.set()
        self.dispatcher.close(patience_seconds)
        self.delivered.set()
        for consumer in self.consumers:
            consumer.join()

    def event(self, record: Record) -> CloudEvent:
        metadata = self.source.metadata
        path = f"/apis/v1/namespaces/{metadata.namespace}/kafkasources/{metadata.name}"
        return from_record(record, path).extended(**self.source.spec.ce_overrides.extensions)


class Partition:
    """One partition while it is ours: which of its records are unfinished, and which wait for their turn."""

    def __init__(self) -> None:
        self.waiting: deque[Record] = deque()  # in an ordered source
        self._unfinished: dict[int, None] = {}  # offsets, rising
        self._next: int | None = None
        self._committed: int | None = None

    def begin(self, offset: int) -> None:
        self._unfinished[offset] = None
        self._next = offset + 1

    def finish(self, offset: int) -> None:
        del self._unfinished[offset]

    @property
    def is_busy(self) -> bool:
        return bool(self._unfinished)

    def take_offset(self) -> int | None:
        """What to commit: the first unfinished record's offset, or else the one after the last; None if it was."""
        offset = next(iter(self._unfinished), self._next)
        if offset == self._committed:
            return None
        self._committed = offset
        return offset


class Consumer(threading.Thread, AsyncConsumerRebalanceListener):  # type: ignore[misc] # kafka-python ships no types
    """One member of the group, with a thread of its own: kafka-python's consumer belongs to one thread."""

    def __init__(self, work: Consumption, number: int) -> None:
        super().__init__(name=f"{work.source.metadata.name}-{number}")
        self._work = work
        self._lock = threading.Lock()  # over what deliveries change from their threads
        self._partitions: dict[TopicPartition, Partition] = {}
        self._in_flight = 0
        self._ordered = work.source.spec.ordering == "ordered"
        self._commit_due = 0.0

    @property
    def held(self) -> set[TopicPartition]:
        """The partitions that are its own at the moment."""
        return set(self._partitions)

    def run(self) -> None:
        while not self._work.stopping.is_set():
            try:
                self._consume()
            except KafkaError as error:
                log.warning("Kafka at %s: %r; connecting again", self._work.servers, error)
                self._forget(set(self._partitions))
                self._work.stopping.wait(1)

    def _consume(self) -> None:
        self._kafka = self._connect()
        try:
            self._kafka.subscribe(self._work.source.spec.topics, listener=self)
            while not self._work.stopping.is_set():
                self._poll()
            self._work.delivered.wait()
            self._commit()
        finally:
            self._kafka.close(timeout_ms=CLOSE_MS)

    def _connect(self) -> KafkaConsumer:
        spec = self._work.source.spec
        return KafkaConsumer(
            bootstrap_servers=self._work.servers.split(","),
            group_id=spec.consumer_group,
            auto_offset_reset=spec.initial_offset,
            enable_auto_commit=False,
            isolation_level="read_committed",
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=SESSION_MS // 4,
            reconnect_backoff_max_ms=1_000,
        )

    def _poll(self) -> None:
        with self._lock:
            may_take = self._in_flight < POLL_RECORDS
        # A full consumer still polls, with its partitions paused: polling is how it stays in the group.
        assigned = self._kafka.assignment()
        (self._kafka.resume if may_take else self._kafka.pause)(*assigned)
        for place, records in self._kafka.poll(POLL_MS, max_records=POLL_RECORDS).items():
            if partition := self._partitions.get(place):  # or it has just gone to another, who reads the same
                for record in records:
                    self._accept(partition, record)
        if time.monotonic() > self._commit_due:
            self._commit()
            self._commit_due = time.monotonic() + self._work.commit_seconds

    def _accept(self, partition: Partition, record: Record) -> None:
        with self._lock:
            self._in_flight += 1
            must_wait = self._ordered and partition.is_busy
            partition.begin(record.offset)
            if must_wait:
                partition.waiting.append(record)
        if not must_wait:
            self._send(partition, record)

    def _send(self, partition: Partition, record: Record) -> None:
        work = self._work

        def done() -> None:
            self._finish(partition, record.offset)

        work.dispatcher.send(Errand(work.event(record), work.sink, work.dead_letter_sink, done))

    def _finish(self, partition: Partition, offset: int) -> None:
        with self._lock:
            self._in_flight -= 1
            partition.finish(offset)
            following = partition.waiting.popleft() if partition.waiting else None
        if following:
            self._send(partition, following)

    def _commit(self) -> None:
        if offsets := self._take_offsets():
            self._kafka.commit(offsets, timeout_ms=SESSION_MS)

    def _take_offsets(self) -> dict[TopicPartition, OffsetAndMetadata]:
        with self._lock:
            taken = {each: partition.take_offset() for each, partition in self._partitions.items()}
        return {each: OffsetAndMetadata(offset, "", -1) for each, offset in taken.items() if offset is not None}

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._partitions = {each: Partition() for each in assigned}
        log.info("%s reads %d partitions", self.name, len(self._partitions))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called on kafka-python's own thread, where nothing may block."""
        try:
            if offsets := self._take_offsets():
                await self._kafka.commit_async(offsets)
        except KafkaError as error:  # too late: whoever has them now delivers those records again
            log.warning("%s: could not commit what it lost: %r", self.name, error)
        self._forget(revoked)

    def _forget(self, partitions: Iterable[TopicPartition]) -> None:
        """What is being sent goes on, but no longer counts; what waits for its turn is someone else's."""
        with self._lock:
            for each in partitions:
                lost = self._partitions.pop(each, Partition())
                self._in_flight -= len(lost.waiting)
                lost.waiting.clear()
