"""Events are hints: whoever forges them changes no image, and reconciliation goes on."""

import json
import os
import random
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from flask.testing import FlaskClient
from service import Deliver, WaitInInbox, make_photo

from shared_lib.errors import FailureCode
from shared_lib.events import KAFKA_RECORD, ProcessingFailed, ProcessingRequested, ProcessingSucceeded
from shared_lib.runtime import Runtime

EVENTS = int(os.environ.get("FORGED_EVENTS", "500"))
"""By hand: FORGED_EVENTS=10000 .venv/bin/python -m pytest --timeout=900 tests/processing/test_forged_events.py"""
NAMES = ("ObjectCreated:Put", "s3:ObjectCreated:Copy", "s3:ObjectRemoved:Delete", "s3:ObjectAccessed:Get", "")
TYPES = (ProcessingRequested.type, ProcessingSucceeded.type, ProcessingFailed.type, KAFKA_RECORD, "dev.knative.x", "t")
STATE = """
    SELECT uuid, status, failure_code, failure_message, filename, description, collection_id, content_type, size_bytes,
        width, height, thumbnail, original_key, created_at, completed_at, deleted_at
    FROM images WHERE uuid = ANY(:images) ORDER BY uuid
"""
"""Not the columns about attempts and turns: a forged event may cost a claim."""


def forge(draw: random.Random, images: list[UUID], inbox: str) -> tuple[str, str, bytes, dict[str, str]]:
    """Return a function, an event's type, data and attributes."""
    uuid = str(draw.choice([*images, uuid4()]))
    keys = draw.choices([uuid, f"{uuid}/thumbnail", f"originals/{uuid}", "../" + uuid], k=draw.choice([1, 3]))
    bucket = draw.choice([inbox, "completed-images", "other"])
    stored = [{"bucket": {"name": bucket}, "object": {"key": key}} for key in keys]
    records = [{"eventName": draw.choice(NAMES), "s3": each} for each in stored]
    end = {"uuid": uuid, "filename": "forged.jpg", "status": draw.choice(["failed", "succeeded", "deleted"])}
    failure = {"failure": {"code": draw.choice([*FailureCode]), "message": "forged"}, "renditions": []}
    data: Any = draw.choice([{"uuid": uuid}, end | failure, {"Records": records}, {"scope": "none"}, []])
    attributes = {"knativeerrorcode": draw.choice(["400", "503", "x"]), "knativeerrordata": "Zm9yZ2Vk"}
    # Each event of the last is a tick, whatever it says.
    [function] = draw.choices(["process_image", "record_dead_letter", "reconcile_images"], [10, 9, 1])
    return function, draw.choice(TYPES), json.dumps(data).encode(), attributes


def test_forged_events_change_no_image_and_reconciliation_goes_on(
    rt: Runtime, load: Callable[[str], FlaskClient], deliver: Deliver, wait_in_inbox: WaitInInbox
) -> None:
    images = [wait_in_inbox(make_photo(48 + number, 32)) for number in range(3)]
    images += [wait_in_inbox(b"not an image"), wait_in_inbox(make_photo(60, 30))]
    for uuid in images:
        assert deliver("process_image", ProcessingRequested.type, {"uuid": str(uuid)}) == 200
    rt.images.delete(images[-1])
    rt.finisher.try_to_clean_up(images[-1])
    images += [wait_in_inbox()]  # pending, without its object
    rt.images.reserve(awaited := uuid4(), "awaited.jpg")
    images += [awaited]
    before = snapshot(rt, images)
    assert {row["status"] for row in before} == {"succeeded", "failed", "pending", "awaiting_upload"}

    functions = {name: load(name) for name in ("process_image", "record_dead_letter", "reconcile_images")}
    draw = random.Random(7)
    bugs = set()
    for number in range(EVENTS):
        function, kind, data, attributes = forge(draw, images, rt.inbox.name)
        headers = {"ce-specversion": "1.0", "ce-id": f"forged-{number}", "ce-source": "/forged", "ce-type": kind}
        headers |= {f"ce-{name}": value for name, value in attributes.items()}
        response = functions[function].post("/", data=data, headers=headers)
        if response.status_code not in (200, 400, 409, 422, 503) or "our side" in response.text:
            bugs.add((response.status_code, response.text))

    assert bugs == set()
    assert snapshot(rt, images) == before
    assert deliver("reconcile_images", "dev.knative.sources.ping", {"scope": "recent"}) == 200
    assert snapshot(rt, images) == before


def snapshot(rt: Runtime, images: list[UUID]) -> list[dict[str, Any]]:
    with rt.database.transaction() as tx:
        rows = tx.rows(STATE, images=images)
        return rows + tx.rows("SELECT * FROM rendition_requests WHERE image_id = ANY(:images)", images=images)
