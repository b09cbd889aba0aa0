"""Topics keep events for a limited time, whether bootstrap created them or found them."""

from uuid import uuid4

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from service import Platform

from shared_lib.broker.client import Client
from shared_lib.events import BUCKET_EVENTS, COMPLETED, TASKS, TOPICS
from shared_lib.settings import Kafka

HOUR = 3600 * 1000  # ms


def read_retention(servers: str, topic: str) -> dict[str, int]:
    with KafkaAdminClient(bootstrap_servers=servers) as admin:
        found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, None)], config_filter="all")
    configs = found["topic"][topic]
    return {setting: int(configs[setting]["value"]) for setting in ("retention.ms", "segment.ms")}


@pytest.mark.parametrize("is_there", [False, True])
def test_events_of_a_topic_are_gone_within_a_day(platform: Platform, *, is_there: bool) -> None:
    servers = platform.environment["KAFKA_BOOTSTRAP_SERVERS"]
    name = f"kept-{uuid4()}"
    if is_there:
        with KafkaAdminClient(bootstrap_servers=servers) as admin:
            admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}})

    Client(Kafka(bootstrap_servers=servers, retention_days=3)).create_topics([name])

    found = read_retention(servers, name)
    assert found == {"retention.ms": 20 * HOUR, "segment.ms": 3 * HOUR}
    assert sum(found.values()) < 24 * HOUR, "an event is as old as its segment's youngest, plus what a segment spans"


def test_only_the_topic_for_other_services_keeps_events_for_the_configured_days(platform: Platform) -> None:
    servers = platform.environment["KAFKA_BOOTSTRAP_SERVERS"]
    try:
        Client(Kafka(bootstrap_servers=servers, retention_days=3)).create_topics()

        kept = {topic: read_retention(servers, topic)["retention.ms"] for topic in TOPICS}
    finally:
        Client(Kafka(bootstrap_servers=servers)).create_topics()
    assert kept == {TASKS: 20 * HOUR, BUCKET_EVENTS: 20 * HOUR, COMPLETED: 68 * HOUR}
