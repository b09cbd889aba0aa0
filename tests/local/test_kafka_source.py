import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka_proxy import UNKNOWN_SERVER_ERROR, KafkaProxy
from local.embedded import make_kafka_source
from local.sink import Request, Sink
from service import wait_for

from infra.local import ports
from infra.local.kafka_source import KafkaSourceRunner
from infra.local.manifests import KafkaSource
from infra.local.plan import Plan

ROOT = Path(__file__).parents[2]


@pytest.fixture
def consume(servers: str) -> Iterator[Callable[..., KafkaSourceRunner]]:
    """Start a KafkaSource. The runners are stopped after the test."""
    started: list[KafkaSourceRunner] = []

    def start(source: KafkaSource, sink: Sink, dead: Sink | None = None, **more: float) -> KafkaSourceRunner:
        started.append(KafkaSourceRunner(source, servers, sink.url, dead.url if dead else None, **more))
        started[-1].start()
        return started[-1]

    yield start
    for runner in started:
        if not runner.stopping.is_set():
            runner.stop(1)


def produce(producer: KafkaProducer, topic: str, *values: bytes, partition: int = 0) -> None:
    for value in values:
        producer.send(topic, value, partition=partition).get(timeout=10)


def partitions_of(runner: KafkaSourceRunner) -> set[int]:
    """Return the partitions assigned to a runner. Empty until each of its consumers has some."""
    shares = [{each.partition for each in consumer.assigned} for consumer in runner.consumers]
    return set().union(*shares) if all(shares) else set()


def committed(servers: str, topic: str) -> int | None:
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id=f"group-of-{topic}", enable_auto_commit=False)
    offset: int | None = consumer.committed(TopicPartition(topic, 0))
    consumer.close()
    return offset


def test_records_become_the_same_events_as_with_knative(
    make_topic: Callable[[int], str],
    make_sink: Callable[..., Sink],
    producer: KafkaProducer,
    consume: Callable[..., KafkaSourceRunner],
) -> None:
    topic, sink = make_topic(1), make_sink()
    producer.send(topic, b'{"Records":[]}', key=b"upload-images/x", partition=0, timestamp_ms=1_772_996_531_614)
    native = {
        "ce_specversion": b"1.0",
        "ce_id": b"42",
        "ce_source": b"/image-processing/request_processing",
        "ce_type": b"org.imageprocessing.image.processing.requested.v1",
        "ce_partitionkey": b"x",
        "content-type": b"application/json",
    }
    producer.send(topic, b'{"uuid":"x"}', key=b"x", headers=list(native.items()), partition=0)
    producer.flush()
    consume(make_kafka_source(topic, ceOverrides={"extensions": {"stage": "test"}}), sink)
    plain, ours = (dict(request.headers.items()) for request in sink.await_requests(2))
    expected = {
        "ce-specversion": "1.0",
        "ce-type": "dev.knative.kafka.event",
        "ce-source": f"/apis/v1/namespaces/image-processing/kafkasources/source#{topic}",
        "ce-id": "partition:0/offset:0",
        "ce-subject": "partition:0#0",
        "ce-time": "2026-03-08T19:02:11.614Z",
        "ce-key": "upload-images/x",
        "ce-partitionkey": "upload-images/x",
        "ce-knativekafkapartition": "0",
        "ce-knativekafkaoffset": "0",
        "ce-stage": "test",
    }
    assert {name: value for name, value in plain.items() if name.startswith("ce-")} == expected
    assert "content-type" not in {name.lower() for name in plain}
    assert (ours["ce-id"], ours["ce-type"]) == ("42", "org.imageprocessing.image.processing.requested.v1")
    assert (ours["content-type"], ours["ce-knativekafkaoffset"]) == ("application/json", "1")
    assert "ce-key" not in ours
    assert sink.bodies == [b'{"Records":[]}', b'{"uuid":"x"}']


def test_offsets_are_committed_up_to_the_first_gap_and_the_rest_is_delivered_again(
    make_topic: Callable[[int], str],
    make_sink: Callable[..., Sink],
    producer: KafkaProducer,
    consume: Callable[..., KafkaSourceRunner],
    servers: str,
) -> None:
    topic = make_topic(1)
    sink = make_sink(lambda request: 503 if request.body == b"2" else 200)
    produce(producer, topic, b"0", b"1", b"2", b"3", b"4")
    source = make_kafka_source(topic, ordering="unordered", delivery={"retry": 1, "backoffDelay": "PT60S"})
    first = consume(source, sink)
    sink.await_requests(5)
    first.stop(1)
    assert committed(servers, topic) == 2
    sink.respond = lambda _request: 200
    consume(source, sink)
    assert sorted(request.body for request in sink.await_requests(8)[5:]) == [b"2", b"3", b"4"]


def test_finished_records_are_committed_before_a_partition_is_reassigned(
    make_topic: Callable[[int], str],
    make_sink: Callable[..., Sink],
    producer: KafkaProducer,
    consume: Callable[..., KafkaSourceRunner],
) -> None:
    topic, sink = make_topic(2), make_sink()
    source = make_kafka_source(topic)
    first = consume(source, sink, commit_seconds=3600)
    for partition in (0, 1):
        produce(producer, topic, b"0", b"1", partition=partition)
    sink.await_requests(4)
    second = consume(source, sink, commit_seconds=3600)
    for runner in (first, second):
        wait_for(lambda each=runner: partitions_of(each), lambda partitions: len(partitions) == 1)  # type: ignore[misc]
    produce(producer, topic, b"2")
    sink.await_requests(5)
    assert sorted(sink.bodies) == [b"0", b"0", b"1", b"1", b"2"]


def test_a_retry_delays_later_records_only_in_an_ordered_source(
    make_topic: Callable[[int], str],
    make_sink: Callable[..., Sink],
    producer: KafkaProducer,
    consume: Callable[..., KafkaSourceRunner],
) -> None:
    topic = make_topic(1)
    produce(producer, topic, b"0", b"1", b"2")

    def fail_once(sink: Sink) -> Callable[[Request], int]:
        return lambda request: 503 if request.body == b"0" and sink.bodies.count(b"0") == 1 else 200

    sinks = {ordering: make_sink() for ordering in ("ordered", "unordered")}
    for ordering, sink in sinks.items():
        sink.respond = fail_once(sink)
        delivery = {"retry": 2, "backoffDelay": "PT0.2S"}
        consume(
            make_kafka_source(topic, ordering=ordering, delivery=delivery, consumerGroup=f"{topic}-{ordering}"), sink
        )
    for sink in sinks.values():
        sink.await_requests(4)
    assert sinks["ordered"].bodies == [b"0", b"0", b"1", b"2"]
    assert sinks["unordered"].bodies[-1] == b"0"


def test_consumers_of_one_group_share_the_partitions(
    make_topic: Callable[[int], str],
    make_sink: Callable[..., Sink],
    producer: KafkaProducer,
    consume: Callable[..., KafkaSourceRunner],
) -> None:
    topic, sink = make_topic(6), make_sink()
    runner = consume(make_kafka_source(topic, consumers=24), sink)
    for partition in range(6):
        produce(producer, topic, f"{partition}".encode(), partition=partition)
    sink.await_requests(6)
    time.sleep(0.5)
    assert sorted(sink.bodies) == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert len(partitions_of(runner)) == 6


@pytest.mark.parametrize(("virtual", "real"), [(0, 0), (1, 1), (20, 1), (21, 2), (40, 2)])
def test_up_to_twenty_consumers_of_a_source_share_one_kafka_consumer(virtual: int, real: int) -> None:
    runner = KafkaSourceRunner(make_kafka_source("nothing", consumers=virtual), "nowhere:1", "http://nowhere", None)

    assert len(runner.consumers) == real


@pytest.fixture
def proxy(servers: str) -> Iterator[KafkaProxy]:
    proxy = KafkaProxy(servers)
    yield proxy
    proxy.close()


def test_a_source_that_was_assigned_nothing_joins_its_group_again(
    make_topic: Callable[[int], str], make_sink: Callable[..., Sink], producer: KafkaProducer, proxy: KafkaProxy
) -> None:
    topic, sink = make_topic(2), make_sink()
    produce(producer, topic, b"0", partition=1)
    proxy.topics = UNKNOWN_SERVER_ERROR
    runner = KafkaSourceRunner(make_kafka_source(topic), proxy.address, sink.url, None)
    runner.start()
    try:
        time.sleep(15)
        proxy.topics = None
        wait_for(lambda: partitions_of(runner), lambda partitions: partitions == {0, 1}, seconds=60)
        sink.await_requests(1)
        wait_for(lambda: runner.consumers[0].fault, lambda fault: fault is None)
    finally:
        runner.stop(1)


def test_a_source_says_what_it_misses_of_the_broker(
    make_topic: Callable[[int], str], make_sink: Callable[..., Sink], proxy: KafkaProxy
) -> None:
    proxy.topics = UNKNOWN_SERVER_ERROR
    runner = KafkaSourceRunner(make_kafka_source(make_topic(1)), proxy.address, make_sink().url, None)
    runner.start()
    try:
        fault = wait_for(lambda: runner.consumers[0].fault, bool, seconds=60)
    finally:
        runner.stop(1)
    assert fault == "reads 0 of 1 partitions"


def test_a_consumer_stops_reading_while_fifty_records_are_in_flight(
    make_topic: Callable[[int], str],
    make_sink: Callable[..., Sink],
    producer: KafkaProducer,
    consume: Callable[..., KafkaSourceRunner],
) -> None:
    topic, release = make_topic(1), threading.Event()
    sink = make_sink(lambda _request: 200 if release.wait(20) else 500)
    for number in range(240):
        producer.send(topic, f"{number}".encode(), partition=0)
    producer.flush()
    consume(make_kafka_source(topic, ordering="unordered"), sink)
    sink.await_requests(50)
    time.sleep(0.5)
    assert len(sink.requests) < 100  # the poll with 49 in flight returns up to 50
    release.set()
    sink.await_requests(240)


MANIFEST = """
apiVersion: sources.knative.dev/v1
kind: KafkaSource
metadata: {{name: source}}
spec:
  bootstrapServers: [kafka:9092]
  topics: [{topic}]
  consumerGroup: group-of-{topic}-{retry}
  initialOffset: earliest
  ordering: unordered
  delivery: {{retry: {retry}, backoffDelay: PT0.01S}}
  sink:
    ref: {{apiVersion: serving.knative.dev/v1, kind: Service, name: sink}}
"""


@pytest.fixture
def start_eventing(servers: str, manifest_folder: Callable[..., Path]) -> Callable[..., subprocess.Popen[bytes]]:
    """Start the eventing process with a manifest that has these values."""

    def start(sink: Sink, **values: object) -> subprocess.Popen[bytes]:
        plan = Plan(
            manifests=manifest_folder(source=MANIFEST.format(**values)),
            bootstrap_servers=servers,
            services={"sink": sink.url},
            webhook_port=ports.free_ports(1)[0],
        )
        return subprocess.Popen([sys.executable, "-m", "infra.local.eventing", plan.model_dump_json()], cwd=ROOT)

    return start


def test_the_number_of_retries_comes_from_the_manifest(
    make_topic: Callable[[int], str],
    make_sink: Callable[..., Sink],
    producer: KafkaProducer,
    start_eventing: Callable[..., subprocess.Popen[bytes]],
) -> None:
    topic = make_topic(1)
    produce(producer, topic, b"0")
    sinks = {retry: make_sink(lambda _request: 503) for retry in (1, 3)}
    processes = [start_eventing(sink, topic=topic, retry=retry) for retry, sink in sinks.items()]
    for retry, sink in sinks.items():
        sink.await_requests(1 + retry)
    for process in processes:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert {retry: len(sink.requests) for retry, sink in sinks.items()} == {1: 2, 3: 4}


def test_unfinished_records_of_a_killed_process_are_delivered_again(
    make_topic: Callable[[int], str],
    make_sink: Callable[..., Sink],
    producer: KafkaProducer,
    start_eventing: Callable[..., subprocess.Popen[bytes]],
) -> None:
    topic, release = make_topic(1), threading.Event()
    sink = make_sink(lambda request: 200 if request.body == b"0" or release.wait(20) else 500)
    produce(producer, topic, b"0", b"1")
    killed = start_eventing(sink, topic=topic, retry=5)
    sink.await_requests(2)
    killed.kill()
    killed.wait()
    release.set()
    following = start_eventing(sink, topic=topic, retry=5)
    sink.await_requests(3)
    following.send_signal(signal.SIGTERM)
    assert following.wait(10) == 0
    assert b"1" in sink.bodies[2:]
