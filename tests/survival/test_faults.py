"""No accepted upload is lost, whichever part fails, and all data is there after a restart.

The service has the edge's cache in front, which forgets what is deleted and changed.
"""

import hashlib
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import uuid4

import psutil
import pytest
import requests
from local.embedded import connect_store
from service import Api, Platform, find_consumers, find_processes, make_photo, start_platform, wait_for

from shared_lib.broker import Broker
from shared_lib.errors import Unavailable
from shared_lib.events import ProcessingRequested
from shared_lib.settings import Kafka

FEW_DESCRIPTORS = 8  # fewer than any process has open, so that it can open nothing more


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A service of these tests' own, because they break its parts. As in a cluster, each image has its own worker."""
    settings = {"PROCESSING_LEASE_SECONDS": "5", "PROCESSING_IMAGES_PER_WORKER": "1", "EDGE_CACHE": "true"}
    running = start_platform(tmp_path_factory.mktemp("faults"), **settings)
    yield running
    assert running.stop() == 0


@pytest.fixture
def client(machine: Platform) -> Api:
    return Api(f"{machine.url}/api/v1", requests.Session())


def test_the_cache_sends_a_rendition_until_its_image_is_deleted(machine: Platform, client: Api) -> None:
    uuids = [client.upload(make_photo()) for _ in range(2)]
    for each in uuids:
        client.await_end(each)
    deleted, kept = (f"{machine.url}/i/unsafe/w=20/{each}.webp" for each in uuids)

    def get(url: str, **headers: str) -> tuple[int, bool]:
        response = client.session.get(url, headers=headers, timeout=30)
        return response.status_code, response.headers["Cache-Status"].endswith("edge; hit")

    assert [get(url) for url in (deleted, deleted, kept, kept)] == [(200, False), (200, True)] * 2
    assert get(deleted, Host="elsewhere.example") == (421, False)
    assert client("DELETE", f"/images/{uuids[0]}").status_code == 200
    assert [get(url) for url in (deleted, kept)] == [(404, False), (200, True)]


def test_the_cache_sends_a_preset_by_its_newest_version(machine: Platform, client: Api) -> None:
    uuid = client.upload(make_photo())
    client.await_end(uuid)
    name = f"p{uuid4().hex}"

    def get() -> tuple[int, int]:
        response = client.session.get(f"{machine.url}/i/unsafe/{name}/{uuid}.png", timeout=30)
        return response.status_code, int.from_bytes(response.content[16:20])

    def save(width: int) -> None:
        recipe = {"name": name, "operations": [{"kind": "resize", "width": width}]}
        assert client("POST", "/presets", json={"recipe": recipe}).status_code == 201

    assert get()[0] == 404
    save(20)
    assert get() == (200, 20)
    save(30)
    assert get() == (200, 30)


def test_the_cache_and_the_api_come_back_after_a_kill(machine: Platform, client: Api) -> None:
    uuid = client.upload(make_photo())
    [nginx] = [each for each in find_processes(machine, name="nginx") if each.ppid() == machine.process.pid]
    [gateway] = find_processes(machine, module="infra.local.gateway")

    def ask() -> int:
        try:
            return requests.get(f"{machine.url}/api/v1/images/{uuid}", timeout=30).status_code
        except requests.ConnectionError:
            return 0

    for process in (nginx, gateway):
        process.kill()
        process.wait()
        wait_for(ask, lambda status: status == 200)


def count_succeeded(client: Api, uuids: list[str]) -> int:
    return sum(client("GET", f"/images/{uuid}").json()["status"] == "succeeded" for uuid in uuids)


def test_killing_the_processor_loses_no_image(machine: Platform, client: Api) -> None:
    uuids = [client.upload(make_photo(1200, 900)) for _ in range(30)]
    wait_for(lambda: count_succeeded(client, uuids), lambda count: count >= 3)

    find_consumers(machine).kill()

    wait_for(lambda: count_succeeded(client, uuids), lambda count: count == len(uuids), seconds=60)
    attempts = [client("GET", f"/images/{uuid}").json()["attempts"] for uuid in uuids]
    assert max(attempts) <= 2


@pytest.mark.timeout(300)
def test_a_processor_without_descriptors_delays_images_and_counts_no_attempt(machine: Platform, client: Api) -> None:
    client.await_end(client.upload(make_photo()))  # an earlier test may have killed it: it has started again
    consumers, written = find_consumers(machine), machine.log.stat().st_size
    before = consumers.rlimit(psutil.RLIMIT_NOFILE)
    consumers.rlimit(psutil.RLIMIT_NOFILE, (FEW_DESCRIPTORS, before[1]))
    try:
        uuids = [client.upload(make_photo()) for _ in range(2)]  # each waits for a purge in vain
        time.sleep(10)
        assert {client("GET", f"/images/{uuid}").json()["status"] for uuid in uuids} <= {"pending", "processing"}
    finally:
        find_consumers(machine).rlimit(psutil.RLIMIT_NOFILE, before)
    images = [wait_for_success(client, uuid) for uuid in uuids]
    assert [image["attempts"] for image in images] == [1] * len(images)
    assert machine.log.stat().st_size - written < 1_000_000


def wait_for_success(client: Api, uuid: str) -> dict[str, Any]:
    return wait_for(
        lambda: client("GET", f"/images/{uuid}").json(), lambda image: image["status"] == "succeeded", seconds=90
    )


def test_an_upload_succeeds_while_kafka_is_unavailable_and_is_processed_when_it_is_back(
    machine: Platform, client: Api
) -> None:
    [broker] = find_processes(machine, name="tansu")
    broker.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        uuid = client.upload(make_photo())
        ticket = client("GET", "/images/actions/upload-url?extension=jpg").json()
        requests.put(ticket["presignedUrl"], make_photo(), timeout=10)
        body = {"uuid": ticket["uuid"], "filename": "meanwhile.jpg"}
        assert client("POST", "/images/actions/process", json=body).status_code == 200
        assert time.monotonic() - began < 20
        assert client("GET", f"/images/{uuid}").json()["status"] == "pending"
    finally:
        broker.send_signal(signal.SIGCONT)

    for waiting in (uuid, ticket["uuid"]):
        wait_for(
            lambda uuid=waiting: client("GET", f"/images/{uuid}").json()["status"],  # type: ignore[misc]
            lambda status: status == "succeeded",
            seconds=90,
        )


def test_an_unavailable_kafka_is_waited_for_once_and_leaks_no_resources(machine: Platform) -> None:
    servers = machine.environment["KAFKA_BOOTSTRAP_SERVERS"]
    threads = threading.active_count()
    broker = Broker(Kafka(bootstrap_servers=servers, publish_timeout_seconds=1))
    event = ProcessingRequested(uuid=uuid4())
    broker.publish(event)
    [process] = find_processes(machine, name="tansu")
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable):
            broker.publish(event)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            broker.publish(event)
        assert time.monotonic() - began < 0.5

        for _ in range(2):
            time.sleep(5)  # it tries again
            with pytest.raises(Unavailable):
                broker.publish(event)
    finally:
        process.send_signal(signal.SIGCONT)
    time.sleep(5)
    broker.publish(event)
    broker.close()
    wait_for(threading.active_count, lambda count: count <= threads)


def test_health_names_the_unreachable_part(machine: Platform, client: Api) -> None:
    store, *_ = find_processes(machine, name="weed")
    store.send_signal(signal.SIGSTOP)
    try:
        response = requests.get(f"{machine.url}/api/health", timeout=10)
        assert response.status_code == 503
        # The embedded broker keeps its records in the store, and may fail with it.
        assert {"store"} <= {each["parameter"] for each in response.json()["details"]} <= {"store", "kafka", "events"}
        assert response.headers["Retry-After"]
        assert requests.get(f"{machine.url}/api/health/live", timeout=5).status_code == 200
    finally:
        store.send_signal(signal.SIGCONT)


def test_health_says_that_the_event_sources_do_not_work(machine: Platform) -> None:
    [eventing] = find_processes(machine, module="infra.local.eventing")
    eventing.send_signal(signal.SIGSTOP)
    try:
        response = requests.get(f"{machine.url}/api/health", timeout=10)
    finally:
        eventing.send_signal(signal.SIGCONT)
    assert (response.status_code, response.json()["error"]) == (503, "Out of reach: events")
    wait_for(lambda: requests.get(f"{machine.url}/api/health", timeout=10).status_code, lambda status: status == 200)


def test_a_download_that_the_store_breaks_off_does_not_look_complete(machine: Platform, client: Api) -> None:
    uuid = client.upload(make_photo(3600, 3600), renditions='[{"name": "large", "output": {"format": "png"}}]')
    assert client.await_end(uuid)["status"] == "succeeded"
    stores = find_processes(machine, name="weed")
    with client.session.get(f"{client.base}/images/{uuid}/renditions/large", stream=True, timeout=30) as response:
        pieces = response.iter_content(64 * 1024)
        next(pieces)
        for store in stores:
            store.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
                list(pieces)
        finally:
            for store in stores:
                store.send_signal(signal.SIGCONT)


def upload_during_a_crash(machine: Platform, client: Api, data: bytes) -> requests.Response:
    """Kill PostgreSQL while the API waits for the store, with the row inserted and the object not yet written.

    What need not be durable is lost, because the process is stopped that writes it to the disk soon.
    """
    servers = find_processes(machine, name="postgres")
    stopped = [*find_processes(machine, name="weed"), *(each for each in servers if "walwriter" in each.cmdline()[0])]
    with ThreadPoolExecutor(1) as pool:
        for each in stopped:
            each.send_signal(signal.SIGSTOP)
        try:
            answer = pool.submit(client, "POST", "/images/actions/upload", files={"file": ("crash.jpg", data)})
            time.sleep(0.5)
            for each in servers:
                each.kill()
        finally:
            for each in stopped:
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(signal.SIGCONT)
        return answer.result()


def list_gallery(machine: Platform) -> set[str]:
    pages = connect_store(machine.environment).get_paginator("list_objects_v2").paginate(Bucket="completed-images")
    return {each["Key"] for page in pages for each in page.get("Contents", ())}


def test_an_upload_whose_row_is_lost_in_a_crash_is_refused_and_leaves_no_original(
    machine: Platform, client: Api
) -> None:
    def attempt() -> tuple[int, str]:
        photo = make_photo()
        return upload_during_a_crash(machine, client, photo).status_code, hashlib.sha256(photo).hexdigest()

    # The row is there if something durable has committed in that half second.
    _, sha256 = wait_for(attempt, lambda tried: tried[0] == 503, seconds=60)

    assert f"originals/{sha256}.jpg" not in list_gallery(machine)


def test_an_upload_that_goes_to_the_inbox_keeps_its_row_in_a_crash(machine: Platform, client: Api) -> None:
    response = upload_during_a_crash(machine, client, b"no image")

    assert response.status_code == 200
    assert client.await_end(response.json()["data"]["uuid"])["error"]["code"] == "unsupported_format"
