"""Asking how the service is costs nearly nothing, however often it is asked."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from kafka_proxy import UNKNOWN_SERVER_ERROR, KafkaProxy
from service import Platform

from shared_lib.broker import Broker
from shared_lib.errors import Misconfigured, Unavailable
from shared_lib.events import ProcessingRequested
from shared_lib.runtime import Runtime
from shared_lib.services.health import FRESH_SECONDS, TIMEOUT_SECONDS, Health
from shared_lib.settings import Kafka


def test_a_hundred_who_ask_at_once_ask_each_part_once(rt: Runtime) -> None:
    asked: Counter[str] = Counter()

    def count(part: str) -> None:
        asked[part] += 1
        time.sleep(0.2)
        rt.database.ping()

    health = Health({part: lambda part=part: count(part) for part in ("one", "other")})  # type: ignore[misc]
    threads = threading.active_count()
    with ThreadPoolExecutor(100) as pool:
        list(pool.map(lambda _: health.check(), range(100)))

    assert asked == {"one": 1, "other": 1}
    assert threading.active_count() <= threads
    time.sleep(FRESH_SECONDS)
    health.check()
    assert asked == {"one": 2, "other": 2}


def test_a_part_that_hangs_is_named_without_waiting_for_it_twice() -> None:
    released = threading.Event()

    def hang() -> None:
        released.wait(30)

    health = Health({"slow": hang, "quick": lambda: None})
    waited = []
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(Unavailable) as failing:
            health.check()
        waited.append(time.monotonic() - began)
        assert failing.value.details == [{"parameter": "slow", "message": "does not respond"}]
    released.set()

    assert waited[0] < TIMEOUT_SECONDS + 2
    assert max(waited[1:]) < 1


def test_what_is_wrong_with_a_part_is_told_without_its_cause() -> None:
    def refuse() -> None:
        raise Misconfigured("The database") from ValueError("password of us@db")

    with pytest.raises(Unavailable) as failing:
        Health({"database": refuse}).check()

    assert "settings" in failing.value.details[0]["message"]
    assert "password" not in str(failing.value.details)


def test_health_says_that_nothing_can_be_published_and_that_it_can_again(platform: Platform) -> None:
    proxy = KafkaProxy(platform.environment["KAFKA_BOOTSTRAP_SERVERS"])
    broker = Broker(Kafka(bootstrap_servers=proxy.address))
    health = Health({"kafka": broker.ping})
    health.check()
    proxy.produce = UNKNOWN_SERVER_ERROR  # the brokers still answer whatever else they are asked
    time.sleep(FRESH_SECONDS)
    with pytest.raises(Unavailable, match="kafka"):
        health.check()

    proxy.produce = None
    time.sleep(FRESH_SECONDS)

    health.check()
    broker.publish(ProcessingRequested(uuid=uuid4()))
    broker.close()
    proxy.close()
