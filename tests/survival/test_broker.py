"""The Kafka client recovers by itself from whatever the brokers answered meanwhile."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata
from kafka_proxy import (
    LIST_OFFSETS,
    SILENCE,
    TOPIC_AUTHORIZATION_FAILED,
    UNKNOWN_SERVER_ERROR,
    UNKNOWN_TOPIC,
    KafkaProxy,
)
from service import Platform, wait_for

from shared_lib.broker import Broker
from shared_lib.errors import Misconfigured, Unavailable, describe_cause
from shared_lib.events import ProcessingRequested
from shared_lib.settings import Kafka


@pytest.fixture
def proxy(platform: Platform) -> Iterator[KafkaProxy]:
    proxy = KafkaProxy(platform.environment["KAFKA_BOOTSTRAP_SERVERS"])
    yield proxy
    proxy.close()


def broker_at(servers: str, **more: Any) -> Broker:
    return Broker(Kafka(bootstrap_servers=servers, publish_timeout_seconds=2, **more))


@pytest.fixture
def broker(proxy: KafkaProxy) -> Iterator[Broker]:
    broker = broker_at(proxy.address)
    yield broker
    broker.close()


def publish(broker: Broker) -> None:
    broker.publish(ProcessingRequested(uuid=uuid4()))


def test_the_lag_of_a_group_is_what_it_has_not_committed(platform: Platform) -> None:
    servers = platform.environment["KAFKA_BOOTSTRAP_SERVERS"]
    broker = broker_at(servers, partitions=1)
    read, unread, empty = topics = [f"{uuid4()}" for _ in range(3)]
    group = f"{uuid4()}"
    broker.client.create_topics(topics)
    with closing(KafkaProducer(bootstrap_servers=servers)) as producer:
        for topic in (read, unread):  # one each: of more, Tansu states the end too late
            producer.send(topic, b"x").get(10)

    with closing(KafkaConsumer(bootstrap_servers=servers, group_id=group, enable_auto_commit=False)) as consumer:
        consumer.assign([TopicPartition(read, 0)])
        for finished in (0, 1):
            consumer.commit({TopicPartition(read, 0): OffsetAndMetadata(finished, "", -1)})
            lags = broker.measure_lag(group, topics, 3)
            assert lags == {(read, 0): 1 - finished, (unread, 0): 1, (empty, 0): 0}


@pytest.mark.parametrize(
    ("code", "kind", "cause"),
    [
        (UNKNOWN_SERVER_ERROR, Unavailable, "UnknownError"),
        (TOPIC_AUTHORIZATION_FAILED, Misconfigured, "TopicAuthorizationFailedError"),
    ],
)
def test_an_event_that_the_brokers_denied_once_is_published_when_they_accept_it(
    proxy: KafkaProxy, broker: Broker, code: int, kind: type[Unavailable], cause: str
) -> None:
    publish(broker)
    proxy.produce = code
    for _ in range(3):
        with pytest.raises(Unavailable) as error:
            publish(broker)
        assert type(error.value) is kind
        assert cause in str(describe_cause(error.value))
    with pytest.raises(kind):
        broker.ping()

    proxy.produce = None

    publish(broker)
    broker.ping()


@pytest.mark.parametrize("code", [TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC])
def test_a_missing_topic_is_a_misconfiguration_and_no_outage(proxy: KafkaProxy, broker: Broker, code: int) -> None:
    proxy.topics = code
    with pytest.raises(Misconfigured) as error:
        publish(broker)
    assert "image-tasks" in str(describe_cause(error.value))

    proxy.topics = None

    wait_for(lambda: is_published(broker), bool)


def is_published(broker: Broker) -> bool:
    try:
        publish(broker)
    except Unavailable:
        return False
    return True


def test_many_threads_that_are_denied_at_once_all_publish_afterwards(proxy: KafkaProxy, broker: Broker) -> None:
    proxy.produce = UNKNOWN_SERVER_ERROR
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(is_published(broker))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == [False] * 8

    proxy.produce = None

    assert is_published(broker)


def test_callers_fail_at_once_after_an_event_that_nobody_waited_for_timed_out(
    proxy: KafkaProxy, broker: Broker
) -> None:
    publish(broker)
    proxy.produce = SILENCE
    broker.publish(ProcessingRequested(uuid=uuid4()), wait=False)

    def fails_at_once() -> bool:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            publish(broker)
        return time.monotonic() - began < 1  # s; it waits for 2

    time.sleep(2.5)  # the event times out after 2
    assert fails_at_once()

    proxy.produce = None

    wait_for(lambda: is_published(broker), bool)


def test_a_question_for_the_lag_that_times_out_does_not_pause_publishing(proxy: KafkaProxy, broker: Broker) -> None:
    publish(broker)
    proxy.silent = {LIST_OFFSETS}
    with pytest.raises(Unavailable):
        broker.measure_lag("nobody", ["image-tasks"], 1)

    publish(broker)


def test_the_producer_is_replaced_after_the_failure_of_an_event_that_nobody_waited_for(
    proxy: KafkaProxy, broker: Broker
) -> None:
    publish(broker)
    connections = proxy.connections
    proxy.produce = UNKNOWN_SERVER_ERROR
    broker.publish(ProcessingRequested(uuid=uuid4()), wait=False)
    time.sleep(0.5)

    proxy.produce = None

    publish(broker)
    assert proxy.connections > connections


# In a process of its own: kafka-python leaves the sockets of failed connections to the garbage collector.
PUBLISH = """
import sys, time
from uuid import uuid4
from shared_lib.broker import Broker
from shared_lib.errors import Unavailable, describe_cause
from shared_lib.events import ProcessingRequested
from shared_lib.settings import Kafka

broker = Broker(Kafka(bootstrap_servers=sys.argv[1], publish_timeout_seconds=2, security_protocol=sys.argv[2]))
began = time.monotonic()
for _ in range(3):
    try:
        broker.publish(ProcessingRequested(uuid=uuid4()))
    except Unavailable as error:
        print(type(error).__name__, describe_cause(error))
print(f"{time.monotonic() - began:.0f} s")
"""


def publish_to(port: int, protocol: str) -> list[str]:
    """Publish three times, and return the errors and the seconds that it took."""
    command = [sys.executable, "-c", PUBLISH, f"127.0.0.1:{port}", protocol]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


def test_an_unreachable_kafka_is_reported_with_its_cause() -> None:
    [first, *_] = publish_to(1, "PLAINTEXT")

    assert first.startswith("Unavailable")
    assert "ECONNREFUSED" in first


def test_a_handshake_without_a_reply_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        *errors, seconds = publish_to(silent.getsockname()[1], "SSL")

    assert [each.split()[0] for each in errors] == ["Unavailable"] * 3
    assert int(seconds.split()[0]) < 5, "only the first one waits"


def test_a_kafka_without_tls_is_a_misconfiguration() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer() -> None:
            with suppress(OSError):
                while True:
                    client, _ = plain.accept()
                    with client:
                        client.recv(1024)
                        client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        [first, *_] = publish_to(plain.getsockname()[1], "SSL")
        plain.shutdown(socket.SHUT_RDWR)

    assert first.startswith("Misconfigured")
    assert "SSL" in first
