"""Whether an installation works, asked as its callers would. Run by `make test-cluster context=…`.

It uploads images, makes a collection and sends one event that is to be refused, and takes all of it away again. It
changes nothing else: what it is told of the cluster, it reads.
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

PATIENCE = 120.0  # for pods that have to start first, on a cluster that may have to find room for them
GRACE = 25.0  # reconciliation looks after 30 s: what has ended before came by its event
MARK = f"acceptance-{uuid4().hex[:12]}"
POISON = (Path(__file__).parent / "poison.py").read_text()


@pytest.fixture(scope="session")
def installation() -> Installation:
    """The one that was named, and only if it is whole."""
    context = os.environ.get("CLUSTER_CONTEXT", "")
    if not context:
        pytest.exit(
            "Which cluster? Name its context: make test-cluster context=…\n"
            f"kubectl knows these: {known_contexts()}. It uploads and deletes images of its own there.",
            returncode=2,
        )
    installation = Installation(context)
    try:
        lacking = installation.shortcomings()
    except Unreachable as error:
        lacking = [f"kubectl cannot look at it: {error}"]
    if lacking:
        lines = "\n".join(f"  - {each}" for each in lacking)
        pytest.exit(f"The installation in {context} is not whole:\n{lines}", returncode=3)
    return installation


@pytest.fixture(scope="session")
def url(installation: Installation) -> Iterator[str]:
    """Where its API is: as told, as its settings say, or through a forwarded port; and its store within reach."""
    with ExitStack() as forwards:
        try:
            found = find_api(installation, forwards)
            lead_to_store(installation, forwards)
        except Unreachable as error:
            pytest.exit(f"{error}.", returncode=3)
        yield found


def find_api(installation: Installation, forwards: ExitStack) -> str:
    told, published = os.environ.get("CLUSTER_URL", ""), installation.setting("HTTP_PUBLIC_BASE_URL")
    if told or (published and not is_of_this_machine(published)):
        return (told or published).rstrip("/")
    if "edge" not in installation.own("service"):
        raise Unreachable("Its settings name no public address: make test-cluster context=… url=https://…")
    local = find_free_port()  # what answers where its settings say may be another program of this machine
    forwards.enter_context(installation.forward("edge", 80, local))
    return f"http://127.0.0.1:{local}"


def lead_to_store(installation: Installation, forwards: ExitStack) -> None:
    """On the port that presigned URLs name, if that is one of this machine: the host is part of what is signed."""
    store = installation.setting("S3_PUBLIC_ENDPOINT_URL")
    port = urlsplit(store).port or 80
    if store and is_of_this_machine(store) and not listens(port) and "minio" in installation.own("service"):
        forwards.enter_context(installation.forward("minio", 9000, port))


@dataclass
class Made:
    """What is to be taken away again."""

    images: list[str] = field(default_factory=list)
    collections: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def api(url: str) -> Iterator[Api]:
    with requests.Session() as session:
        if authorization := os.environ.get("CLUSTER_AUTHORIZATION"):
            session.headers["Authorization"] = authorization
        yield Api(f"{url}/api/v1", session)


@pytest.fixture(scope="session")
def made(api: Api) -> Iterator[Made]:
    made = Made()
    yield made
    left = [f"/images/{uuid}" for uuid in made.images if not remove(api, f"/images/{uuid}")]
    left += [f"/collections/{uuid}" for uuid in made.collections if not remove(api, f"/collections/{uuid}")]
    assert not left, f"These are still there, and yours to delete: {', '.join(left)}"


def remove(api: Api, path: str) -> bool:
    return api("DELETE", path).status_code in (200, 204, 404)


@pytest.fixture(scope="session")
def upload(api: Api, made: Made) -> Callable[..., str]:
    def upload(data: bytes, name: str) -> str:
        made.images.append(api.upload(data, f"{MARK}-{name}"))
        return made.images[-1]

    return upload


@pytest.fixture(scope="session")
def image(api: Api, upload: Callable[..., str]) -> dict[str, Any]:
    """One that was uploaded directly, and has ended."""
    return await_end(api, upload(make_photo(640, 480), "direct.jpg"))


def await_end(api: Api, uuid: str) -> dict[str, Any]:
    """Bears with answers that are errors: a pod may have to start, or to be found."""

    def look() -> dict[str, Any]:
        answer = api("GET", f"/images/{uuid}")
        return answer.json() if answer.status_code == 200 else {"answered": answer.status_code}

    return wait_for(look, lambda it: it.get("status") in ("succeeded", "failed"), PATIENCE)


def test_all_parts_answer(api: Api, url: str) -> None:
    def ask() -> requests.Response:
        return api.session.get(f"{url}/api/health", timeout=60)

    answer = wait_for(ask, lambda it: it.status_code == 200, PATIENCE)

    assert answer.json() == {"status": "ok"}


def test_no_function_has_an_address_outside_of_the_cluster(installation: Installation) -> None:
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


def test_a_presigned_upload_is_processed_by_its_event(api: Api, made: Made, image: dict[str, Any]) -> None:
    """That takes the store's public address, its notifications, Kafka and the KafkaSource."""
    ticket = api("GET", "/images/actions/upload-url?extension=png").json()
    made.images.append(ticket["uuid"])

    stored = requests.put(ticket["presignedUrl"], make_photo(form="PNG"), timeout=60)
    began = time.monotonic()

    assert stored.status_code == 200, f"{urlsplit(ticket['presignedUrl']).netloc}: {stored.text}"
    assert await_end(api, ticket["uuid"])["status"] == "succeeded"
    assert time.monotonic() - began < GRACE, "it succeeded by reconciliation: no notification, or no event, came"


def test_a_rendition_is_made_and_fetched(api: Api, image: dict[str, Any]) -> None:
    resize = {"kind": "resize", "width": 64, "height": 48}
    recipe = {"name": "card", "operations": [resize], "output": {"format": "webp"}}
    order = {"uuid": image["uuid"], "filename": image["filename"], "renditions": [recipe]}
    assert api("POST", "/images/actions/process", json=order).status_code in (200, 202)

    answer = wait_for(
        lambda: api("GET", f"/images/{image['uuid']}/renditions/card"), lambda it: it.status_code == 200, PATIENCE
    )

    with Image.open(io.BytesIO(answer.content)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (64, 48))
    again = {"If-None-Match": answer.headers["ETag"]}
    assert api("GET", f"/images/{image['uuid']}/renditions/card", headers=again).status_code == 304


def test_a_file_that_is_no_image_fails_with_its_reason(api: Api, upload: Callable[..., str]) -> None:
    failed = await_end(api, upload(b"\xff\xd8\xff no picture at all", "broken.jpg"))

    assert failed["status"] == "failed"
    assert failed["error"]


def test_a_collection_holds_an_image_until_it_is_taken_out(api: Api, made: Made, image: dict[str, Any]) -> None:
    created = api("POST", "/collections", json={"name": MARK}).json()["data"]
    made.collections.append(created["uuid"])
    path, members = f"/collections/{created['uuid']}", {"data": [{"type": "images", "uuid": image["uuid"]}]}

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
def test_an_error_is_the_apis_own(api: Api, method: str, path: str, status: int) -> None:
    answer = api(method, path)

    assert answer.status_code == status
    assert answer.json()["code"]


def test_what_cannot_be_read_is_a_dead_letter(installation: Installation) -> None:
    """An event goes from Kafka to process_image, which refuses it, and from there to record_dead_letter."""
    said = installation.run_python("reconcile-images", POISON.replace("MARK", MARK))

    assert said.split() == ["recorded", "400"]


def test_a_function_that_nobody_calls_starts_when_it_is_called(api: Api, installation: Installation) -> None:
    """Unless others keep it busy: then it answers anyway."""
    deadline = time.monotonic() + 150
    while installation.pods_of("find-similar-images") and time.monotonic() < deadline:
        time.sleep(2)

    began = time.monotonic()
    answer = api("GET", f"/images/{uuid4()}/similar")

    assert answer.status_code == 404
    assert time.monotonic() - began < 25


def test_a_deleted_image_is_gone(api: Api, upload: Callable[..., str]) -> None:
    uuid = upload(make_photo(), "deleted.jpg")
    await_end(api, uuid)

    assert api("DELETE", f"/images/{uuid}").status_code < 300

    assert api("GET", f"/images/{uuid}").status_code == 404
    assert api("GET", f"/images/{uuid}/renditions/thumbnail").status_code == 404
