"""Run a KafkaSource: a consumer group that sends each record to a sink and commits the offsets of finished ones.

Delivery is at least once. Offsets are committed only up to the first unfinished record. After a crash a few records are
delivered again, and none is lost.
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
from infra.local.delivery import Dispatcher, PendingEvent, Policy
from infra.local.manifests import KafkaSource

log = logging.getLogger(__name__)

POLL_RECORDS = 50  # Knative's max.poll.records. It also polls only while fewer than this are in flight
CONNECTIONS = 100  # to sinks, for each Kafka consumer: Knative's maxPoolSize
VIRTUAL_REPLICAS = 20  # of a source's `consumers` share one Kafka consumer: Knative's POD_CAPACITY
COMMIT_SECONDS = 1.0  # Knative's is 5. A shorter interval causes fewer duplicates
SESSION_MS = 6_000  # how long a killed consumer keeps its partitions. kafka-python's 45 s is long for a local run
POLL_MS = 500  # records end the wait. Each poll costs processor time, also at rest
GATHER_SECONDS = 0.02  # after a poll with records: fetching several costs little more than fetching one
CHECK_SECONDS = 10.0  # between two looks whether it reads all there is
REJOIN_SECONDS = 20.0  # without that, before it joins the group anew, and then twice as long each time
MAX_REJOIN_SECONDS = 320.0  # other members have to stop for each
FAULT_SECONDS = 30.0  # without that, before health says so: a group that another process leaves takes SESSION_MS
STUCK_SECONDS = 60.0  # for a poll. It includes the wait for a broker that does not answer
CLOSE_MS = 1_000  # a broker that is rebalancing the group only responds afterwards


class KafkaSourceRunner:
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
        self.delivered = threading.Event()  # while stopping: the last requests have ended
        count = math.ceil(source.spec.consumers / VIRTUAL_REPLICAS)
        self.dispatcher = Dispatcher(Policy.of_kafka_source(source.spec.delivery), max(count, 1) * CONNECTIONS)
        self.consumers = [Consumer(self, number) for number in range(count)]

    def start(self) -> None:
        for consumer in self.consumers:
            consumer.start()

    def stop(self, grace_seconds: float) -> None:
        """Wait up to `grace_seconds` for current requests, commit, and leave the group."""
        self.stopping.set()
        self.dispatcher.close(grace_seconds)
        self.delivered.set()
        for consumer in self.consumers:
            consumer.join()

    def event(self, record: Record) -> CloudEvent:
        metadata = self.source.metadata
        path = f"/apis/v1/namespaces/{metadata.namespace}/kafkasources/{metadata.name}"
        return from_record(record, path).extended(**self.source.spec.ce_overrides.extensions)


class NotServed(KafkaError):  # type: ignore[misc]  # kafka-python ships no types
    """The broker answers, but the consumer cannot read all that it should."""


class Partition:
    """Track the unfinished and the waiting records of an assigned partition."""

    def __init__(self) -> None:
        self.waiting: deque[Record] = deque()  # only in an ordered source
        self._unfinished: dict[int, None] = {}  # offsets, ascending
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
        """Offset to commit: the first unfinished record, else last + 1. None if already committed."""
        offset = next(iter(self._unfinished), self._next)
        if offset == self._committed:
            return None
        self._committed = offset
        return offset


class Consumer(threading.Thread, AsyncConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python ships no types
    """One member of the group, on its own thread: kafka-python's consumer may only be used on one."""

    def __init__(self, runner: KafkaSourceRunner, number: int) -> None:
        super().__init__(name=f"{runner.source.metadata.name}-{number}")
        self._runner = runner
        self._lock = threading.Lock()  # for state that delivery threads change
        self._partitions: dict[TopicPartition, Partition] = {}
        self._in_flight = 0
        self._ordered = runner.source.spec.ordering == "ordered"
        self._commit_due = 0.0
        self._polled_at = self._whole_at = self._check_due = time.monotonic()
        self._has_read = True  # since the last check
        self._problem = "has no partitions yet"
        self._patience = REJOIN_SECONDS

    @property
    def is_stuck(self) -> bool:
        return self.is_alive() and time.monotonic() > self._polled_at + STUCK_SECONDS

    @property
    def fault(self) -> str | None:
        """The reason for which it has not read all there is for some time."""
        return self._problem if time.monotonic() > self._whole_at + FAULT_SECONDS else None

    @property
    def assigned(self) -> set[TopicPartition]:
        """The partitions that it reads now."""
        return set(self._partitions)

    def run(self) -> None:
        while not self._runner.stopping.is_set():
            try:
                self._consume()
            except KafkaError as error:
                self._problem = error.args[0] if isinstance(error, NotServed) else f"{error!r}"
                self._polled_at = time.monotonic()
                log.warning("Kafka at %s: %r; reconnecting", self._runner.servers, error)
                self._drop(set(self._partitions))
                self._runner.stopping.wait(1)

    def _consume(self) -> None:
        self._kafka = self._connect()
        rejoin_due = time.monotonic() + self._patience
        try:
            self._kafka.subscribe(self._runner.source.spec.topics, listener=self)
            while not self._runner.stopping.is_set():
                self._poll()
                if time.monotonic() > self._check_due:
                    self._check(rejoin_due)
            self._runner.delivered.wait()
            self._commit()
        finally:
            self._kafka.close(timeout_ms=CLOSE_MS)

    def _check(self, rejoin_due: float) -> None:
        """Raise NotServed if it has not read all there is for long: a new connection asks for everything anew.

        A group is assigned what its leader then knew of the topics. If the broker failed at that moment, that is
        nothing, and it stays nothing.
        """
        try:
            problem = self._find_problem()
        except KafkaError as error:
            problem = f"{error!r}"
        now = time.monotonic()
        self._check_due, self._has_read = now + CHECK_SECONDS, False
        if problem is None:
            self._whole_at, self._patience = now, REJOIN_SECONDS
            return
        self._problem = problem
        if now > max(rejoin_due, self._whole_at + self._patience):
            self._patience = min(2 * self._patience, MAX_REJOIN_SECONDS)
            raise NotServed(problem)

    def _find_problem(self) -> str | None:
        topics = self._runner.source.spec.topics
        existing = sum(max(len(self._kafka.partitions_for_topic(each)), 1) for each in topics)
        assigned = sum(len(each.assigned) for each in self._runner.consumers)
        if assigned < existing:
            return f"reads {assigned} of {existing} partitions"
        ends = self._kafka.end_offsets(list(self.assigned), timeout_ms=SESSION_MS) if self.assigned else {}
        reading = self.assigned - self._kafka.paused()
        behind = [each for each in reading if self._kafka.position(each, timeout_ms=SESSION_MS) < ends[each]]
        return "gets no events, though there are some" if behind and not self._has_read else None

    def _connect(self) -> KafkaConsumer:
        spec = self._runner.source.spec
        return KafkaConsumer(
            bootstrap_servers=self._runner.servers.split(","),
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
        # Poll even when full, with partitions paused: a consumer that stops polling is removed from the group.
        if not may_take:
            self._kafka.pause(*self._kafka.assignment())
        elif paused := self._kafka.paused():
            self._kafka.resume(*paused)
        polled = self._kafka.poll(POLL_MS, max_records=POLL_RECORDS)
        self._polled_at = time.monotonic()
        self._has_read |= bool(polled)
        for place, records in polled.items():
            if partition := self._partitions.get(place):  # else just reassigned, with these records
                for record in records:
                    self._accept(partition, record)
        if time.monotonic() > self._commit_due:
            self._commit()
            self._commit_due = time.monotonic() + self._runner.commit_seconds
        if polled:
            self._runner.stopping.wait(GATHER_SECONDS)

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
        runner = self._runner

        def done() -> None:
            self._finish(partition, record.offset)

        runner.dispatcher.send(PendingEvent(runner.event(record), runner.sink, runner.dead_letter_sink, done))

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
        """Commit without blocking: kafka-python calls this on its own thread."""
        try:
            if offsets := self._take_offsets():
                await self._kafka.commit_async(offsets)
        except KafkaError as error:  # too late: the new consumer delivers those records again
            log.warning("%s: could not commit revoked partitions: %r", self.name, error)
        self._drop(revoked)

    def _drop(self, partitions: Iterable[TopicPartition]) -> None:
        """Drop partitions. Records being sent no longer count, and waiting ones belong to the new consumer."""
        with self._lock:
            for each in partitions:
                dropped = self._partitions.pop(each, Partition())
                self._in_flight -= len(dropped.waiting)
                dropped.waiting.clear()
