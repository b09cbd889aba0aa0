"""An image costs no more transactions, statements, requests to the store, records and threads than it needs.

Each of them was counted and argued for. Whoever needs one more says why, and raises the number here.
"""

import io
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from postgres_proxy import PostgresProxy
from service import make_photo, wait_for

from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.domain.images import ImageStatus
from shared_lib.events import KAFKA_RECORD, ProcessingRequested, read_work
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.runtime import Runtime

UPLOAD_TRANSACTIONS, UPLOAD_STATEMENTS = 2, 3
PROCESSOR_TRANSACTIONS, PROCESSOR_STATEMENTS = 3, 6
UPLOAD_ROUND_TRIPS, PROCESSOR_ROUND_TRIPS = 2, 5
"""A transaction begins together with its first statement. If its last one is known, it ends with that."""
REQUEST_STATEMENTS = 3
"""To request further renditions: lock the image, add what is to be made, make it due."""
STORE_REQUESTS = 2
"""Put the original, and get it."""
INBOX_TRANSACTIONS, INBOX_REQUESTS = 4, 3
"""To process an upload that came by the inbox: get it, name and put the original, delete it."""

_started: list[object] = []


def _note_thread(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "_thread.start_new_thread":
        _started.append(arguments[0])


sys.addaudithook(_note_thread)


class _Noting(logging.Handler):
    """Notes every request that urllib3 sends, and logs at debug level."""

    def __init__(self, requests: list[str]) -> None:
        super().__init__()
        self._requests = requests

    def emit(self, record: logging.LogRecord) -> None:
        if "HTTP/" in record.getMessage():
            self._requests.append(record.getMessage().split('"')[1])  # method, path and version


@dataclass
class Counted:
    """A runtime like the service's, and all that it sends to the database and the store."""

    rt: Runtime
    database: PostgresProxy
    requests: list[str] = field(default_factory=list)

    def process(self, event: str, data: object) -> None:
        for uuid, key in self.rt.ingestion.resolve(read_work(event, data, self.rt.inbox.name)):
            self.rt.processor.process(uuid, key)

    def forget(self) -> None:
        """Count from now on, as if no image had waited."""
        self.rt.processor.fairness.note_wait(0)
        self.requests.clear()
        self.database.forget()
        _started.clear()


@pytest.fixture(scope="module")
def counted(proxied: tuple[Runtime, PostgresProxy]) -> Iterator[Counted]:
    counted = Counted(*proxied)
    log = logging.getLogger("urllib3.connectionpool")
    noting = _Noting(counted.requests)
    log.addHandler(noting)
    log.setLevel(logging.DEBUG)
    counted.process(ProcessingRequested.type, {"uuid": str(upload(counted))})  # opens connections, starts their threads
    yield counted
    log.removeHandler(noting)
    log.setLevel(logging.NOTSET)


def upload(counted: Counted) -> UUID:
    """Upload a photograph that nobody has uploaded before. Return its image."""
    return counted.rt.ingestion.ingest("counted.jpg", None, make_photo(), "image/jpeg")


def test_a_direct_upload_stays_within_its_budget_until_its_success_is_announced(counted: Counted) -> None:
    counted.forget()
    uuid = upload(counted)
    assert counted.database.transactions <= UPLOAD_TRANSACTIONS, "\n".join(counted.database.sent)
    assert len(counted.database.statements) <= UPLOAD_STATEMENTS, "\n".join(counted.database.sent)
    assert counted.database.round_trips <= UPLOAD_ROUND_TRIPS
    counted.database.forget()

    counted.process(ProcessingRequested.type, {"uuid": str(uuid)})

    assert counted.database.transactions <= PROCESSOR_TRANSACTIONS, "\n".join(counted.database.sent)
    assert len(counted.database.statements) <= PROCESSOR_STATEMENTS, "\n".join(counted.database.sent)
    assert counted.database.round_trips <= PROCESSOR_ROUND_TRIPS
    assert len(counted.requests) <= STORE_REQUESTS, "\n".join(counted.requests)
    assert _started == []
    state = counted.rt.image_queries.get_state(uuid)
    assert state
    assert (state.status, state.announced) == (ImageStatus.SUCCEEDED, True)


def test_twenty_recipes_are_requested_by_as_many_statements_as_one(counted: Counted) -> None:
    uuid = upload(counted)
    counted.process(ProcessingRequested.type, {"uuid": str(uuid)})
    recipes = [
        read_recipe({"name": f"r{side}", "operations": [{"kind": "resize", "width": side}]}) for side in range(1, 21)
    ]
    costs = []
    for some in (recipes[:1], recipes, recipes):
        counted.forget()
        assert counted.rt.images.request(uuid, None, None, some, describe=False)
        costs.append((len(counted.database.statements), counted.database.round_trips))

    assert costs[0] == costs[1] == costs[2], costs
    assert costs[0][0] <= REQUEST_STATEMENTS


def test_while_images_wait_a_look_for_other_tenants_costs_one_transaction_more(counted: Counted) -> None:
    uuid = upload(counted)
    counted.forget()
    counted.rt.processor.fairness.note_wait(60)

    counted.process(ProcessingRequested.type, {"uuid": str(uuid)})

    assert counted.database.transactions <= PROCESSOR_TRANSACTIONS + 1, "\n".join(counted.database.sent)
    assert len(counted.database.statements) <= PROCESSOR_STATEMENTS + 1, "\n".join(counted.database.sent)


def test_an_upload_by_the_inbox_is_copied_once(counted: Counted) -> None:
    uuid, photo = uuid4(), make_photo()
    counted.rt.images.create(uuid, "counted.jpg", None, len(photo))
    counted.rt.inbox.put(str(uuid), photo, "image/jpeg")
    counted.forget()

    record = {"eventName": "s3:ObjectCreated:Put"}
    s3 = {"bucket": {"name": counted.rt.inbox.name}, "object": {"key": str(uuid)}}
    counted.process(KAFKA_RECORD, {"Records": [record | {"s3": s3}]})

    assert counted.database.transactions <= INBOX_TRANSACTIONS, "\n".join(counted.database.sent)
    assert len(counted.requests) <= INBOX_REQUESTS, "\n".join(counted.requests)
    assert counted.rt.image_queries.get(uuid).status is ImageStatus.SUCCEEDED


def test_an_awaited_upload_costs_one_look_and_one_transaction_more(counted: Counted) -> None:
    uuid = uuid4()
    counted.rt.images.reserve(uuid, "counted.jpg")
    counted.rt.inbox.put(str(uuid), make_photo(), "image/jpeg")
    counted.forget()

    counted.process(ProcessingRequested.type, {"uuid": str(uuid)})

    assert counted.database.transactions <= INBOX_TRANSACTIONS + 1, "\n".join(counted.database.sent)
    assert len(counted.requests) <= INBOX_REQUESTS + 1, "\n".join(counted.requests)
    assert counted.rt.image_queries.get(uuid).status is ImageStatus.SUCCEEDED


def test_an_original_that_an_equal_image_has_published_is_not_stored_again(counted: Counted) -> None:
    photo = make_photo()
    first = counted.rt.ingestion.ingest("equal.jpg", None, photo, "image/jpeg")
    counted.process(ProcessingRequested.type, {"uuid": str(first)})
    counted.forget()

    counted.rt.ingestion.ingest("equal.jpg", None, photo, "image/jpeg")

    originals = [request.split()[0] for request in counted.requests if "/originals/" in request]
    assert originals == ["HEAD"]


def test_a_published_original_that_the_store_has_lost_is_stored_again(counted: Counted) -> None:
    photo = make_photo()
    first = counted.rt.ingestion.ingest("lost.jpg", None, photo, "image/jpeg")
    counted.process(ProcessingRequested.type, {"uuid": str(first)})
    key = counted.rt.gallery.describe_original(photo, Format.JPEG, DEFAULT_TENANT).key
    counted.rt.gallery.delete(key)

    counted.rt.ingestion.ingest("lost.jpg", None, photo, "image/jpeg")

    assert counted.rt.gallery.read(key) == photo


@pytest.mark.parametrize("function", ["upload_image", "list_images"])
def test_only_the_first_requests_of_a_function_build_validators(
    rt: Runtime, load: Callable[[str], FlaskClient], function: str
) -> None:
    client, built = load(function), list[str]()
    listed = rt.ingestion.ingest("listed.jpg", None, make_photo(), "image/jpeg")
    wait_for(lambda: rt.image_queries.get(listed).status is ImageStatus.SUCCEEDED, bool)

    def request() -> int:
        if function == "list_images":
            return client.get("/api/v1/images?limit=1&include=none").status_code
        form = {"file": (io.BytesIO(make_photo()), "counted.jpg"), "renditions": "[]"}
        return client.post("/api/v1/images/actions/upload", data=form).status_code

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.endswith("_generate_schema.py"):
            built.append(frame.f_code.co_name)

    assert {request() for _ in range(3)} == {200}
    sys.setprofile(note)
    try:
        assert request() == 200
    finally:
        sys.setprofile(None)
    assert built == []
