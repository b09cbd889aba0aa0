"""Publish an event to Kafka: the only room that knows kafka-python.

The producer is made on first use, because a function that publishes nothing should not wait for it, and made anew after
every failure, whatever state that left it in. It waits for all in-sync replicas; a caller waits for a bounded time and
no longer. It is not idempotent: readers expect duplicates, and an idempotent producer of kafka-python is dead for ever
after one answer that it cannot retry.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import (
    AuthorizationError,
    IllegalSaslStateError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    SaslAuthenticationFailedError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
)
from kafka.net.compat import KafkaNetClient

from shared_lib import background
from shared_lib.errors import Misconfigured, RequestRefused, Unavailable
from shared_lib.events import TOPICS, Payload
from shared_lib.observability import current_function, current_traceparent, get_logger
from shared_lib.settings import Kafka as KafkaSettings

if TYPE_CHECKING:
    from concurrent.futures import Future

log = get_logger()
logging.getLogger("kafka").addHandler(logging.NullHandler())  # says in many lines what ours say in one

KAFKA = "Kafka"
CANARY = "health-canary"
"""A topic that nobody reads: only a record that is written shows that records can be."""
_DAY_MS = 24 * 3600 * 1000
_REST_SECONDS = 5  # after a failure to answer, further callers are told at once instead of each waiting out the time
_WRONG_SETTINGS = (
    AuthorizationError,
    IllegalSaslStateError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    SaslAuthenticationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
)


class _Admin(KafkaAdminClient):  # type: ignore[misc]  # kafka-python ships no types
    """kafka-python's own forgets its thread and its sockets when no broker answers; this one ends them."""

    _closed = False  # or close() would think that there is nothing to close yet

    def __init__(self, **told: Any) -> None:  # noqa: ANN401  as the client takes it
        try:
            super().__init__(**told)
        except KafkaError:
            with suppress(AttributeError):  # it had not come to that
                self.close()
            raise


class Broker:
    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._changing = threading.Lock()
        self._producer: Future[KafkaProducer] | None = None
        self._rest: tuple[float, BaseException] | None = None  # until when, of the monotonic clock, and why

    def publish(self, event: Payload) -> None:
        """
        Hand the event over to Kafka and wait until all in-sync replicas have it.

        Raises Unavailable when that takes longer than `KAFKA_PUBLISH_TIMEOUT_SECONDS` (the event may still arrive:
        readers expect duplicates), Misconfigured when the brokers do not let us.
        """
        key, value, headers = event.to_kafka(current_function(), current_traceparent())
        self._send(event.topic, key, value, headers)

    def ping(self) -> None:
        """Publish to a topic that nobody reads, by the same producer. Raises as `publish` does."""
        self._send(CANARY, None, b"canary", [])

    def _send(self, topic: str, key: bytes | None, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        producer = self._get_producer()
        try:
            sent = producer.send(topic, value=value, key=key, headers=headers)
        except KafkaError as error:
            self._replace(producer)
            if isinstance(error, KafkaTimeoutError):
                self._check_topic(topic)  # which is all that it waited for
            raise self._translate(error) from error
        try:
            sent.get(timeout=self._settings.publish_timeout_seconds)
        except KafkaError as error:
            self._replace(producer)
            raise self._translate(error) from error

    def _get_producer(self) -> KafkaProducer:
        with self._changing:
            if self._rest and time.monotonic() < self._rest[0]:
                raise Unavailable("Kafka is out of reach") from self._rest[1]
            if self._producer is None:
                self._producer = background.start(self._make_producer, "kafka-producer")
            made = self._producer
        try:
            return made.result(self._settings.publish_timeout_seconds)
        except (KafkaError, TimeoutError) as error:  # a handshake without an answer would take for ever
            raise self._translate(error) from error
        finally:
            if made.done() and made.exception():
                self._forget(made)

    def _make_producer(self) -> KafkaProducer:
        timeout = self._settings.publish_timeout_seconds * 1000
        with _naming_causes(), _closing_after_failure() as make_client:
            return KafkaProducer(
                **self._reach(),
                kafka_client=make_client,
                client_id="image-processing",
                acks="all",
                enable_idempotence=False,
                bootstrap_timeout_ms=int(timeout * 0.8),  # so that whoever waits for us hears why
                max_block_ms=int(timeout / 2),  # the other half is for asking why
                request_timeout_ms=int(timeout),
                delivery_timeout_ms=int(timeout),  # or it would not close before
            )

    def _replace(self, producer: KafkaProducer) -> None:
        """Have the next caller make another; what others are sending by this one may still arrive."""
        current = self._producer
        if current is None or not current.done() or current.exception() or current.result() is not producer:
            return  # someone else has replaced it
        self._forget(current)
        background.start(partial(producer.close, timeout=2 * self._settings.publish_timeout_seconds), "kafka-close")

    def _forget(self, made: "Future[KafkaProducer]") -> None:
        with self._changing:
            if self._producer is made:
                self._producer = None

    def _check_topic(self, topic: str) -> None:
        """Raises Misconfigured if the brokers answer, but know no such topic, or do not show it to us."""
        with self._administer(timeout_seconds=self._settings.publish_timeout_seconds / 2) as admin:
            if topic in admin.list_topics():
                return
        raise Misconfigured(KAFKA) from UnknownTopicOrPartitionError(topic)

    def _translate(self, error: BaseException) -> Unavailable:
        if _is_about_settings(error):
            return Misconfigured(KAFKA)
        if isinstance(error, MessageSizeTooLargeError):
            return RequestRefused("Kafka refused an event for its size")
        if isinstance(error, KafkaTimeoutError | TimeoutError):
            self._rest = time.monotonic() + _REST_SECONDS, error
            return Unavailable("Kafka is out of reach")
        return Unavailable("Kafka cannot take an event now")

    def create_topics(self, names: Iterable[str] = (*TOPICS, CANARY)) -> None:
        """Create the topics that are not there yet, and have all of them keep events as long as they should."""
        # What is deleted is a segment, once its youngest event is old enough.
        configs = {"retention.ms": str(self._settings.retention_days * _DAY_MS), "segment.ms": str(_DAY_MS)}
        wanted = {
            "num_partitions": self._settings.partitions,
            "replication_factor": self._settings.replication_factor,
            "configs": configs,
        }
        with self._administer(timeout_seconds=self._settings.publish_timeout_seconds) as admin:
            with suppress(TopicAlreadyExistsError):  # another job may be quicker
                missing = set(names) - set(admin.list_topics())
                if missing:
                    admin.create_topics(dict.fromkeys(sorted(missing), wanted))
            topics = [ConfigResource(ConfigResourceType.TOPIC, name, configs) for name in names]
            for name, answer in admin.alter_configs(topics, incremental=True, raise_on_unknown=False)["topic"].items():
                if answer != "OK":
                    log.warning("topic_retention_not_set", topic=name, reason=answer)

    @contextmanager
    def _administer(self, *, timeout_seconds: float) -> Iterator[KafkaAdminClient]:
        timeout = int(timeout_seconds * 1000)
        try:
            with _naming_causes():
                connected = _Admin(**self._reach(), bootstrap_timeout_ms=timeout, request_timeout_ms=timeout)
            with connected as admin:
                yield admin
        except KafkaError as error:
            raise self._translate(error) from error

    def _reach(self) -> dict[str, Any]:
        """Where the brokers are, and what they ask of a client."""
        told = self._settings
        reach = {
            "bootstrap_servers": told.bootstrap_servers,
            "security_protocol": told.security_protocol,
            "ssl_cafile": told.ca_file,
        }
        if told.sasl_username and told.sasl_password:
            reach |= {
                "sasl_mechanism": told.sasl_mechanism,
                "sasl_plain_username": told.sasl_username.get_secret_value(),
                "sasl_plain_password": told.sasl_password.get_secret_value(),
            }
        return reach

    def close(self) -> None:
        """Let what is being sent arrive, for as long as a caller would wait."""
        made = self._producer
        if made is not None and made.done() and not made.exception():
            made.result().close(timeout=self._settings.publish_timeout_seconds)


def _is_about_settings(error: BaseException) -> bool:
    if isinstance(error, _WRONG_SETTINGS):
        return True
    # Of TLS, kafka-python passes on the text alone; a connection that merely ended during the handshake is no quarrel.
    return "Handshake failed: [SSL" in str(error) and "EOF" not in str(error)


@contextmanager
def _naming_causes() -> Iterator[None]:
    """While a client connects, have its timeout raised from the reason, which kafka-python puts into its log alone."""
    heard = _Reasons()
    logger = logging.getLogger("kafka.net")
    logger.addHandler(heard)
    try:
        yield
    except KafkaTimeoutError as error:
        if heard.last and _is_about_settings(heard.last):
            raise heard.last from None
        raise error from heard.last
    finally:
        logger.removeHandler(heard)


@contextmanager
def _closing_after_failure() -> Iterator[Callable[..., KafkaNetClient]]:
    """A producer that cannot be made forgets its client, and with it sockets."""
    made: list[KafkaNetClient] = []

    def make(**told: Any) -> KafkaNetClient:  # noqa: ANN401  as the client takes it
        made.append(KafkaNetClient(**told))
        return made[-1]

    try:
        yield make
    except KafkaError:
        for client in made:
            client.close()
        raise


class _Reasons(logging.Handler):
    """The last error that this thread's client wrote a line about."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last: KafkaError | None = None
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread and isinstance(record.args, tuple):
            reasons = (each for each in record.args if isinstance(each, KafkaError))
            self.last = next((each for each in reasons if not isinstance(each, KafkaTimeoutError)), self.last)
