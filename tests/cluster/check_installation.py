"""Check that an installation in a cluster works, through its API. Run by `make test-cluster context=…`.

It uploads images, creates a collection, and sends one invalid event. It deletes all of these at the end, and changes
nothing else in the cluster.
"""

import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import requests
from cluster.installation import (
    READY,
    Installation,
    Unreachable,
    is_of_this_machine,
    known_contexts,
    listens,
)
from PIL import Image
from service import Api, find_free_port, make_photo, wait_for

TIMEOUT = 120.0  # for pods to start, possibly on a new node
EVENT_SECONDS = 25.0  # reconciliation starts after 30 s: anything faster came by an event
MARK = f"acceptance-{uuid4().hex[:12]}"
POISON = (Path(__file__).parent / "poison.py").read_text()


@pytest.fixture(scope="session")
def installation() -> Installation:
    """The installation in the given context. Exit if it is incomplete."""
    context = os.environ.get("CLUSTER_CONTEXT", "")
    if not context:
        pytest.exit(
            "Set the cluster's context: make test-cluster context=…\n"
            f"kubectl has these: {known_contexts()}. The test uploads images to the cluster and deletes them again.",
            returncode=2,
        )
    installation = Installation(context)
    try:
        problems = installation.find_problems()
    except Unreachable as error:
        problems = [f"kubectl cannot read it: {error}"]
    if problems:
        lines = "\n".join(f"  - {each}" for each in problems)
        pytest.exit(f"The installation in {context} is not ready:\n{lines}", returncode=3)
    return installation


@pytest.fixture(scope="session")
def url(installation: Installation) -> Iterator[str]:
    """The API's base URL: as given, from the settings, or through a forwarded port. Also forward the store's port."""
    with ExitStack() as forwards:
        try:
            found = find_api(installation, forwards)
            forward_store(installation, forwards)
        except Unreachable as error:
            pytest.exit(f"{error}.", returncode=3)
        yield found


def find_api(installation: Installation, forwards: ExitStack) -> str:
    given, published = os.environ.get("CLUSTER_URL", ""), installation.setting("HTTP_PUBLIC_BASE_URL")
    if given or (published and not is_of_this_machine(published)):
        return (given or published).rstrip("/")
    if "edge" not in installation.own("service"):
        raise Unreachable("The settings have no public address: make test-cluster context=… url=https://…")
    local = find_free_port()  # another program may listen on the port in the settings
    forwards.enter_context(installation.forward("edge", 80, local))
    return f"http://127.0.0.1:{local}"


def forward_store(installation: Installation, forwards: ExitStack) -> None:
    """Forward the port in presigned URLs, if it is on this machine. The signature covers the host and port."""
    store = installation.setting("S3_PUBLIC_ENDPOINT_URL")
    port = urlsplit(store).port or 80
    if store and is_of_this_machine(store) and not listens(port) and "minio" in installation.own("service"):
        forwards.enter_context(installation.forward("minio", 9000, port))


@dataclass
class Created:
    """Resources to delete at the end."""

    images: list[str] = field(default_factory=list)
    collections: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def api(url: str) -> Iterator[Api]:
    with requests.Session() as session:
        if authorization := os.environ.get("CLUSTER_AUTHORIZATION"):
            session.headers["Authorization"] = authorization
        if key := os.environ.get("CLUSTER_API_KEY"):
            session.headers["X-API-Key"] = key
        yield Api(f"{url}/api/v1", session)


@pytest.fixture(scope="session")
def created(api: Api) -> Iterator[Created]:
    created = Created()
    yield created
    remaining = [f"/images/{uuid}" for uuid in created.images if not remove(api, f"/images/{uuid}")]
    remaining += [f"/collections/{uuid}" for uuid in created.collections if not remove(api, f"/collections/{uuid}")]
    assert not remaining, f"Could not delete these, please do: {', '.join(remaining)}"


def remove(api: Api, path: str) -> bool:
    return api("DELETE", path).status_code in (200, 204, 404)


@pytest.fixture(scope="session")
def upload(api: Api, created: Created) -> Callable[..., str]:
    def upload(data: bytes, name: str) -> str:
        created.images.append(api.upload(data, f"{MARK}-{name}"))
        return created.images[-1]

    return upload


@pytest.fixture(scope="session")
def image(api: Api, upload: Callable[..., str]) -> dict[str, Any]:
    """A processed image that was uploaded directly."""
    return await_end(api, upload(make_photo(640, 480), "direct.jpg"))


def await_end(api: Api, uuid: str) -> dict[str, Any]:
    """Wait until an image is processed. Ignore errors: a pod may still be starting."""

    def show() -> dict[str, Any]:
        response = api("GET", f"/images/{uuid}")
        return response.json() if response.status_code == 200 else {"responded": response.status_code}

    return wait_for(show, lambda shown: shown.get("status") in ("succeeded", "failed"), TIMEOUT)


def test_the_service_is_healthy(api: Api, url: str) -> None:
    def check() -> requests.Response:
        return api.session.get(f"{url}/api/health", timeout=60)

    response = wait_for(check, lambda response: response.status_code == 200, TIMEOUT)

    assert response.json() == {"status": "ok"}


def test_no_function_has_an_address_outside_the_cluster(installation: Installation) -> None:
    functions = installation.own("ksvc")
    addresses = [functions[name]["status"]["url"] for name in READY["ksvc"]]

    assert [each for each in addresses if not each.endswith(".svc.cluster.local")] == []


def test_the_kafka_source_has_a_dead_letter_sink(installation: Installation) -> None:
    source = installation.own("kafkasource")["image-work"]

    assert source["spec"]["delivery"]["deadLetterSink"]["ref"]["name"] == "record-dead-letter"


def test_reconciliation_is_called_every_minute_and_every_night(installation: Installation) -> None:
    sources = installation.own("pingsource")

    assert {each["spec"]["sink"]["ref"]["name"] for each in sources.values()} == {"reconcile-images"}
    assert sources["reconcile-every-minute"]["spec"]["schedule"] == "* * * * *"


def test_a_direct_upload_succeeds(image: dict[str, Any]) -> None:
    assert (image["status"], image["width"], image["height"]) == ("succeeded", 640, 480)
    assert image["imageData"].startswith("data:image/jpeg;base64,")


def test_a_presigned_upload_is_processed_by_its_event(api: Api, created: Created, image: dict[str, Any]) -> None:
    """This needs the store's public address, its notifications, Kafka and the KafkaSource."""
    photo = make_photo(form="PNG")
    signed = api("GET", f"/images/actions/upload-url?extension=png&sizeBytes={len(photo)}").json()
    created.images.append(signed["uuid"])

    stored = requests.put(signed["presignedUrl"], photo, headers=signed["headers"], timeout=60)
    began = time.monotonic()

    assert stored.status_code == 200, f"{urlsplit(signed['presignedUrl']).netloc}: {stored.text}"
    assert await_end(api, signed["uuid"])["status"] == "succeeded"
    assert time.monotonic() - began < EVENT_SECONDS, "found by reconciliation, not by an event"


def test_a_requested_rendition_can_be_downloaded(api: Api, image: dict[str, Any]) -> None:
    resize = {"kind": "resize", "width": 64, "height": 48}
    recipe = {"name": "card", "operations": [resize], "output": {"format": "webp"}}
    request = {"uuid": image["uuid"], "filename": image["filename"], "renditions": [recipe]}
    assert api("POST", "/images/actions/process", json=request).status_code in (200, 202)

    response = wait_for(
        lambda: api("GET", f"/images/{image['uuid']}/renditions/card"),
        lambda response: response.status_code == 200,
        TIMEOUT,
    )

    with Image.open(io.BytesIO(response.content)) as rendition:
        assert (rendition.format, rendition.size) == ("WEBP", (64, 48))
    conditional = {"If-None-Match": response.headers["ETag"]}
    assert api("GET", f"/images/{image['uuid']}/renditions/card", headers=conditional).status_code == 304


def test_a_file_that_is_not_an_image_fails_with_an_error(api: Api, upload: Callable[..., str]) -> None:
    failed = await_end(api, upload(b"\xff\xd8\xff not an image", "broken.jpg"))

    assert failed["status"] == "failed"
    assert failed["error"]


def test_an_image_can_be_added_to_and_removed_from_a_collection(
    api: Api, created: Created, image: dict[str, Any]
) -> None:
    collection = api("POST", "/collections", json={"name": MARK}).json()["data"]
    created.collections.append(collection["uuid"])
    path, members = f"/collections/{collection['uuid']}", {"data": [{"type": "images", "uuid": image["uuid"]}]}

    assert api("POST", f"{path}/relationships/images", json=members).status_code < 300
    assert api("GET", path).json()["data"]["imageCount"] == 1
    assert api("PATCH", path, json={"description": MARK}).json()["data"]["description"] == MARK
    assert api("DELETE", f"{path}/relationships/images", json=members).status_code < 300
    assert api("DELETE", path).status_code < 300
    assert api("GET", path).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/images/{uuid4()}", 404),
        ("GET", "/images/no-uuid", 400),
        ("GET", "/nothing", 404),
        ("GET", "/images?page=0", 400),
        ("PUT", "/images", 405),
    ],
)
def test_errors_have_the_apis_format(api: Api, method: str, path: str, status: int) -> None:
    response = api(method, path)

    assert response.status_code == status
    assert response.json()["code"]


def test_an_invalid_event_becomes_a_dead_letter(installation: Installation) -> None:
    """The event goes from Kafka to process_image, which rejects it, and then to record_dead_letter."""
    output = installation.run_python("reconcile-images", POISON.replace("MARK", MARK))

    assert output.split() == ["recorded", "400"]


def test_a_function_that_is_scaled_to_zero_starts_for_a_request(api: Api, installation: Installation) -> None:
    """Other callers may keep it running. Then the test only checks the response."""
    deadline = time.monotonic() + 150
    while installation.pods_of("find-similar-images") and time.monotonic() < deadline:
        time.sleep(2)

    began = time.monotonic()
    response = api("GET", f"/images/{uuid4()}/similar")

    assert response.status_code == 404
    assert time.monotonic() - began < 25


def test_a_deleted_image_is_not_found(api: Api, upload: Callable[..., str]) -> None:
    uuid = upload(make_photo(), "deleted.jpg")
    await_end(api, uuid)

    assert api("DELETE", f"/images/{uuid}").status_code < 300

    assert api("GET", f"/images/{uuid}").status_code == 404
    assert api("GET", f"/images/{uuid}/renditions/thumbnail").status_code == 404
