"""Publish an event to Kafka: the only room that knows kafka-python.

The producer is made on first use, because a function that publishes nothing should not wait for it. It is
idempotent and waits for all in-sync replicas; a caller waits for a bounded time and no longer.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, TopicAlreadyExistsError

from shared_lib.errors import Unavailable
from shared_lib.events import Payload
from shared_lib.observability import get_logger, traceparent
from shared_lib.settings import Kafka as KafkaSettings

log = get_logger()

_DAY_MS = 24 * 3600 * 1000
_REST_SECONDS = 5  # after a failure, further callers are told at once instead of each waiting out the time


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
        self._producer: KafkaProducer | None = None
        self._making = threading.Lock()
        self._resting_until = 0.0

    def publish(self, event: Payload, *, function: str) -> None:
        """
        Hand the event over to Kafka and wait until all in-sync replicas have it.

        Raises Unavailable when that takes longer than `KAFKA_PUBLISH_TIMEOUT_SECONDS`. The event may still arrive:
        readers expect duplicates.
        """
        key, value, headers = event.to_kafka(function, traceparent())
        try:
            sent = self._connect().send(event.topic, value=value, key=key, headers=headers)
            sent.get(timeout=self._settings.publish_timeout_seconds)
        except KafkaError as error:
            self._rest()
            raise Unavailable("Kafka is out of reach") from error

    def ping(self) -> None:
        """Raises Unavailable unless the brokers answer."""
        with self._administer() as admin:
            admin.list_topics()

    def create_topics(self, *names: str) -> None:
        """Create the topics that are not there yet, and have all of them keep events as long as they should."""
        # What is deleted is a segment, once its youngest event is old enough.
        configs = {"retention.ms": str(self._settings.retention_days * _DAY_MS), "segment.ms": str(_DAY_MS)}
        wanted = {
            "num_partitions": self._settings.partitions,
            "replication_factor": self._settings.replication_factor,
            "configs": configs,
        }
        with self._administer() as admin:
            with suppress(TopicAlreadyExistsError):  # another job may be quicker
                missing = set(names) - set(admin.list_topics())
                if missing:
                    admin.create_topics(dict.fromkeys(sorted(missing), wanted))
            topics = [ConfigResource(ConfigResourceType.TOPIC, name, configs) for name in names]
            for name, answer in admin.alter_configs(topics, incremental=True, raise_on_unknown=False)["topic"].items():
                if answer != "OK":
                    log.warning("topic_retention_not_set", topic=name, reason=answer)

    @contextmanager
    def _administer(self) -> Iterator[KafkaAdminClient]:
        timeout = int(self._settings.publish_timeout_seconds * 1000)
        try:
            with _Admin(**self._reach(), bootstrap_timeout_ms=timeout, request_timeout_ms=timeout) as admin:
                yield admin
        except KafkaError as error:
            raise Unavailable("Kafka is out of reach") from error

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
        if self._producer is not None:
            self._producer.close(timeout=self._settings.publish_timeout_seconds)

    def _connect(self) -> KafkaProducer:
        timeout = int(self._settings.publish_timeout_seconds * 1000)
        with self._making:
            if time.monotonic() < self._resting_until:
                raise Unavailable("Kafka is out of reach")
            if self._producer is None:
                try:
                    self._producer = KafkaProducer(
                        **self._reach(),
                        client_id="image-processing",
                        acks="all",
                        bootstrap_timeout_ms=timeout,
                        max_block_ms=timeout,
                    )
                except KafkaError:
                    self._rest()  # before those who wait behind us have their turn
                    raise
            return self._producer

    def _rest(self) -> None:
        self._resting_until = time.monotonic() + _REST_SECONDS
