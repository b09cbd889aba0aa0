"""Topics keep events for a limited time, whether bootstrap created them or found them."""

from uuid import uuid4

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from service import Platform

from shared_lib.broker.client import Client
from shared_lib.settings import Kafka

DAY = 24 * 3600 * 1000  # ms


@pytest.mark.parametrize("is_there", [False, True])
def test_a_topic_keeps_events_for_the_configured_days(platform: Platform, *, is_there: bool) -> None:
    servers = platform.environment["KAFKA_BOOTSTRAP_SERVERS"]
    name = f"kept-{uuid4()}"
    with KafkaAdminClient(bootstrap_servers=servers) as admin:
        if is_there:
            admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}})

        Client(Kafka(bootstrap_servers=servers, retention_days=3)).create_topics([name])

        configs = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name, None)], config_filter="all")[
            "topic"
        ][name]
    assert {setting: int(configs[setting]["value"]) for setting in ("retention.ms", "segment.ms")} == {
        "retention.ms": 3 * DAY,
        "segment.ms": DAY,
    }
