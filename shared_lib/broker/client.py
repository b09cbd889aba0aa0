"""Publish events to Kafka. Only this module uses kafka-python.

The producer is made on first use, and replaced after every failure, because its state is then unknown. It waits for
all in-sync replicas, and a caller waits for a bounded time. It is not idempotent: readers expect duplicates, and
kafka-python's idempotent producer never recovers from an error that it cannot retry.
"""

import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import (
    AuthorizationError,
    IllegalSaslStateError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RequestTimedOutError,
    SaslAuthenticationFailedError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
)
from kafka.net.compat import KafkaNetClient

from shared_lib import background, metrics, tracing
from shared_lib.errors import Misconfigured, RequestRejected, Unavailable
from shared_lib.events import COMPLETED, TOPICS, Payload
from shared_lib.observability import current_function, get_logger, log_failure
from shared_lib.settings import Kafka as KafkaSettings

if TYPE_CHECKING:
    from concurrent.futures import Future

log = get_logger()
logging.getLogger("kafka").addHandler(logging.NullHandler())  # it logs in many lines what we log in one

KAFKA = "Kafka"
CANARY = "health-canary"
"""A topic that nobody reads. Health checks write to it: only that shows that records can be written."""
_HOUR_MS = 3600 * 1000
_DAY_HOURS = 24
_SEGMENT_HOURS = 3  # Kafka deletes whole segments, once their youngest event is old enough
_DELETION_HOURS = 1  # more than it takes Kafka, which looks every five minutes
_LINGER_MS = 20  # events that follow within it share a request. Who publishes one has nothing else to do for its image
_PAUSE_SECONDS = 5  # after a timeout: further callers fail at once, instead of each waiting for its own
_WRONG_SETTINGS = (
    AuthorizationError,
    IllegalSaslStateError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    SaslAuthenticationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
)
# Which of them it is depends on whose clock runs out first: the request's or the event's.
_TIMEOUTS = (KafkaTimeoutError, RequestTimedOutError, TimeoutError)
_ENDED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""Of a connection that just ended during the handshake, as in an outage."""


class _Admin(KafkaAdminClient):  # type: ignore[misc]  # kafka-python ships no types
    """Ends its thread and closes its sockets if no broker responds. kafka-python's own class leaks them."""

    _closed = False  # until __init__ is through, close() would else find nothing to close

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  whatever the client takes
        try:
            super().__init__(**options)
        except KafkaError:
            with suppress(AttributeError):  # it failed too early to have one
                self.close()
            raise


class Client:
    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._changing = threading.Lock()
        self._producer: Future[KafkaProducer] | None = None
        self._paused: tuple[float, BaseException] | None = None  # until when (monotonic), and why

    def publish(self, event: Payload, *, wait: bool = True) -> None:
        """Publish the event, and `wait` until all in-sync replicas have it, or else only log a failure.

        Raises Unavailable if that takes longer than `KAFKA_PUBLISH_TIMEOUT_SECONDS`: the event may still arrive, so
        readers expect duplicates. Raises Misconfigured if the brokers don't allow it.
        """
        with tracing.span(f"send {event.topic}", "producer", {"messaging.system": "kafka"}):
            key, value, headers = event.to_kafka(current_function(), tracing.current())
            self._send(event.topic, key, value, headers, wait=wait)

    def ping(self) -> None:
        """Publish to a topic that nobody reads, with the same producer. Raises as `publish` does."""
        self._send(CANARY, None, b"canary", [])

    def _send(
        self, topic: str, key: bytes | None, value: bytes, headers: list[tuple[str, bytes]], *, wait: bool = True
    ) -> None:
        began = time.perf_counter()

        def note(outcome: str, _result: object = None) -> None:
            metrics.PUBLICATIONS.observe(time.perf_counter() - began, metrics.Publication(topic, outcome))

        try:
            self._start_sending(topic, key, value, headers, note, wait=wait)
        except Unavailable:
            note("failed")
            raise

    def _start_sending(  # noqa: PLR0913  the parts of an event
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: list[tuple[str, bytes]],
        note: Callable[..., None],
        *,
        wait: bool,
    ) -> None:
        producer = self._get_producer()
        try:
            sent = producer.send(topic, value=value, key=key, headers=headers)
        except KafkaError as error:
            self._replace(producer)
            if isinstance(error, KafkaTimeoutError):
                self._check_topic(topic)  # send() waits for the topic's metadata only
            raise self._fail(error) from error
        if not wait:
            sent.add_callback(partial(note, "published"))
            sent.add_errback(partial(note, "failed"))
            sent.add_errback(partial(self._note_failure, producer, topic))
            return
        try:
            sent.get(timeout=self._settings.publish_timeout_seconds)
            note("published")
        except KafkaError as error:
            self._replace(producer)
            raise self._fail(error) from error

    def _note_failure(self, producer: KafkaProducer, topic: str, error: BaseException) -> None:
        """Log the failure of an event that nobody waits for. Later callers see its consequences."""
        self._replace(producer)
        translated = self._fail(error)
        translated.__cause__ = error
        log_failure(log, "event_not_published", translated, topic=topic)

    def _get_producer(self) -> KafkaProducer:
        with self._changing:
            if self._paused and time.monotonic() < self._paused[0]:
                raise Unavailable("Kafka is out of reach") from self._paused[1]
            if self._producer is None:
                self._producer = background.start(self._make_producer, "kafka-producer")
            made = self._producer
        try:
            return made.result(self._settings.publish_timeout_seconds)
        except (KafkaError, TimeoutError) as error:  # a handshake without a response never ends
            raise self._fail(error) from error
        finally:
            if made.done() and made.exception():
                self._forget(made)

    def _make_producer(self) -> KafkaProducer:
        timeout = self._settings.publish_timeout_seconds * 1000
        with _naming_causes(), _closing_after_failure() as make_client:
            return KafkaProducer(
                **self._client_options(),
                kafka_client=make_client,
                client_id="image-processing",
                acks="all",
                enable_idempotence=False,
                # At the limit, kafka-python polls without a pause until a response arrives. Order does not matter here.
                max_in_flight_requests_per_connection=1000,
                bootstrap_timeout_ms=int(timeout * 0.8),  # so that a waiting caller learns the reason
                max_block_ms=int(timeout / 2),  # the other half is for finding out why
                linger_ms=_LINGER_MS,
                request_timeout_ms=int(timeout) - _LINGER_MS,
                delivery_timeout_ms=int(timeout),  # or it could not be closed earlier
            )

    def _replace(self, producer: KafkaProducer) -> None:
        """Let the next caller make another. Events that others are sending with this one may still arrive."""
        current = self._producer
        if current is None or not current.done() or current.exception() or current.result() is not producer:
            return  # another thread replaced it
        self._forget(current)
        background.start(partial(producer.close, timeout=2 * self._settings.publish_timeout_seconds), "kafka-close")

    def _forget(self, made: "Future[KafkaProducer]") -> None:
        with self._changing:
            if self._producer is made:
                self._producer = None

    def _check_topic(self, topic: str) -> None:
        """Raise Misconfigured if the brokers respond, but the topic doesn't exist or we may not see it."""
        with self._administer(timeout_seconds=self._settings.publish_timeout_seconds / 2) as admin:
            if topic in admin.list_topics():
                return
        raise Misconfigured(KAFKA) from UnknownTopicOrPartitionError(topic)

    def _fail(self, error: BaseException) -> Unavailable:
        """Return the error for callers who publish. After a timeout, later ones fail at once for a while."""
        if isinstance(error, _TIMEOUTS) and not _is_about_settings(error):
            self._paused = time.monotonic() + _PAUSE_SECONDS, error
        return _translate(error)

    def create_topics(self, names: Iterable[str] = (*TOPICS, CANARY)) -> None:
        """Create missing topics, and set the retention of all."""
        configs = {name: self._limit_retention(name) for name in names}
        wanted = {"num_partitions": self._settings.partitions, "replication_factor": self._settings.replication_factor}
        with self._administer(timeout_seconds=self._settings.publish_timeout_seconds) as admin:
            with suppress(TopicAlreadyExistsError):  # another job may have been quicker
                missing = set(configs) - set(admin.list_topics())
                if missing:
                    admin.create_topics({name: wanted | {"configs": configs[name]} for name in sorted(missing)})
            topics = [ConfigResource(ConfigResourceType.TOPIC, *each) for each in configs.items()]
            for name, result in admin.alter_configs(topics, incremental=True, raise_on_unknown=False)["topic"].items():
                if result != "OK":
                    log.warning("topic_retention_not_set", topic=name, reason=result)

    def _limit_retention(self, topic: str) -> dict[str, str]:
        """Return the settings of a topic whose events are gone in time. Whatever others lose is found in the rows."""
        hours = _DAY_HOURS * (self._settings.retention_days if topic == COMPLETED else 1)
        kept = hours - _SEGMENT_HOURS - _DELETION_HOURS
        return {"retention.ms": f"{kept * _HOUR_MS}", "segment.ms": f"{_SEGMENT_HOURS * _HOUR_MS}"}

    def measure_lag(self, group: str, topics: Iterable[str], timeout_seconds: float) -> dict[tuple[str, int], int]:
        """Return how many events of each topic and partition a consumer group has yet to finish.

        Raises Unavailable if a broker takes longer than the timeout for one of four requests.
        """
        with self._administer(timeout_seconds=timeout_seconds) as admin:
            partitions = [
                TopicPartition(topic["name"], partition["partition_index"])
                for topic in admin.describe_topics(list(topics))
                for partition in topic["partitions"]
            ]
            ends = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
            begins = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST))
            finished = admin.list_group_offsets({group: partitions})[group]
        lags = {}
        for each in partitions:
            committed = finished[each].offset if each in finished else -1
            done = begins[each].offset if committed < 0 else committed  # without a commit it begins with the oldest
            lags[each.topic, each.partition] = max(ends[each].offset - done, 0)
        return lags

    @contextmanager
    def _administer(self, *, timeout_seconds: float) -> Iterator[KafkaAdminClient]:
        timeout = int(timeout_seconds * 1000)
        try:
            with _naming_causes():
                connected = _Admin(**self._client_options(), bootstrap_timeout_ms=timeout, request_timeout_ms=timeout)
            with connected as admin:
                yield admin
        except KafkaError as error:
            raise _translate(error) from error

    def _client_options(self) -> dict[str, Any]:
        settings = self._settings
        options = {
            "bootstrap_servers": settings.bootstrap_servers,
            "security_protocol": settings.security_protocol,
            "ssl_cafile": settings.ca_file,
        }
        if settings.sasl_username and settings.sasl_password:
            options |= {
                "sasl_mechanism": settings.sasl_mechanism,
                "sasl_plain_username": settings.sasl_username.get_secret_value(),
                "sasl_plain_password": settings.sasl_password.get_secret_value(),
            }
        return options

    def close(self) -> None:
        """Wait for events that are being sent, as long as a caller would."""
        made = self._producer
        if made is not None and made.done() and not made.exception():
            made.result().close(timeout=self._settings.publish_timeout_seconds)


def _translate(error: BaseException) -> Unavailable:
    if _is_about_settings(error):
        return Misconfigured(KAFKA)
    if isinstance(error, MessageSizeTooLargeError):
        return RequestRejected("Kafka rejected an event for its size")
    if isinstance(error, _TIMEOUTS):
        return Unavailable("Kafka is out of reach")
    return Unavailable("Kafka cannot accept an event now")


def _is_about_settings(error: BaseException) -> bool:
    if isinstance(error, _WRONG_SETTINGS):
        return True
    return isinstance(_find_reason(error), ssl.SSLError) and not isinstance(_find_reason(error), _ENDED)


def _find_reason(error: BaseException) -> BaseException | None:
    """Return what kafka-python caught when it raised the error. It names no cause."""
    return error.__cause__ or error.__context__


@contextmanager
def _naming_causes() -> Iterator[None]:
    """While a client connects, raise its timeout from the reason, which kafka-python only logs."""
    logged = _Reasons()
    logger = logging.getLogger("kafka.net")
    logger.addHandler(logged)
    try:
        yield
    except KafkaTimeoutError as error:
        if logged.last and _is_about_settings(logged.last):
            raise logged.last from _find_reason(logged.last)
        raise error from logged.last
    finally:
        logger.removeHandler(logged)


@contextmanager
def _closing_after_failure() -> Iterator[Callable[..., KafkaNetClient]]:
    """Close the client of a producer that can't be made. kafka-python leaks it, and its sockets."""
    made: list[KafkaNetClient] = []

    def make(**options: Any) -> KafkaNetClient:  # noqa: ANN401  whatever the client takes
        made.append(KafkaNetClient(**options))
        return made[-1]

    try:
        yield make
    except KafkaError:
        for client in made:
            client.close()
        raise


class _Reasons(logging.Handler):
    """Remembers the last error that this thread's client logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last: KafkaError | None = None
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread and isinstance(record.args, tuple):
            reasons = (each for each in record.args if isinstance(each, KafkaError))
            self.last = next((each for each in reasons if not isinstance(each, KafkaTimeoutError)), self.last)
