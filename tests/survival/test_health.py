"""Health checks are cheap, however many there are."""

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
from shared_lib.services.health import KEPT_SECONDS, TIMEOUT_SECONDS, Health
from shared_lib.settings import Kafka


def test_a_hundred_concurrent_health_checks_ping_each_part_once(rt: Runtime) -> None:
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
    time.sleep(KEPT_SECONDS)
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


def test_a_part_is_asked_again_behind_a_check_that_reuses_its_last_result() -> None:
    asked, released = threading.Semaphore(0), threading.Event()

    def ping() -> None:
        asked.release()
        released.wait(30)

    health = Health({"slow": ping}, fresh_seconds=0, kept_seconds=3600)
    released.set()
    health.check()
    released.clear()

    health.check()  # raises if it waits for the part

    assert all(asked.acquire(timeout=30) for _ in range(2))
    released.set()


def test_health_names_a_failing_part_without_the_cause() -> None:
    def fail() -> None:
        raise Misconfigured("The database") from ValueError("password of us@db")

    with pytest.raises(Unavailable) as failing:
        Health({"database": fail}).check()

    assert "settings" in failing.value.details[0]["message"]
    assert "password" not in str(failing.value.details)


def test_health_reports_that_kafka_cannot_be_written_and_that_it_recovered(platform: Platform) -> None:
    proxy = KafkaProxy(platform.environment["KAFKA_BOOTSTRAP_SERVERS"])
    broker = Broker(Kafka(bootstrap_servers=proxy.address))
    health = Health({"kafka": broker.ping}, fresh_seconds=0, kept_seconds=0)
    health.check()
    proxy.produce = UNKNOWN_SERVER_ERROR  # the brokers still answer all other requests
    with pytest.raises(Unavailable, match="kafka"):
        health.check()

    proxy.produce = None

    health.check()
    broker.publish(ProcessingRequested(uuid=uuid4()))
    broker.close()
    proxy.close()
