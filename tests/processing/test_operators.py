"""Operators see the state of the whole service, and retry what failed, through the API and by a command."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from service import Deliver, WaitInInbox, make_photo

from shared_lib.database.connection import ALL_TENANTS, acting_for
from shared_lib.domain.images import ImageStatus
from shared_lib.errors import FailureCode, NotFound, Rejected, Unavailable, WorkerCrashed
from shared_lib.events import ProcessingRequested
from shared_lib.runtime import Runtime

Call = Callable[..., dict[str, Any]]
PATH = "/api/v1/operations"


@pytest.fixture
def call(load: Callable[[str], FlaskClient]) -> Call:
    """Call a function, and return its JSON."""

    def call(function: str, method: str, path: str, status: int = 200, **more: Any) -> dict[str, Any]:
        response = load(function).open(path, method=method, **more)
        assert response.status_code == status, response.text
        found: dict[str, Any] = response.get_json()
        return found

    return call


@pytest.fixture
def letters(rt: Runtime, deliver: Deliver) -> Iterator[list[str]]:
    """Record three dead letters. Return the IDs of their events, oldest first."""
    ids = [f"{uuid4()}" for _ in range(3)]
    for number in ids:
        attributes = {"id": number, "knativeerrorcode": "503", "knativeerrordest": "http://process-image"}
        assert deliver("record_dead_letter", ProcessingRequested.type, {"uuid": f"{uuid4()}"}, **attributes) == 200
    yield ids
    with rt.database.transaction() as tx:
        tx.rows("DELETE FROM dead_letters WHERE event_id = ANY(CAST(:ids AS text[]))", ids=ids)


def fail(rt: Runtime, wait_in_inbox: WaitInInbox, code: FailureCode, age: timedelta = timedelta()) -> UUID:
    """Make an image that failed some time ago."""
    uuid = wait_in_inbox()
    rt.images.give_up(uuid, code, "for the test")
    with rt.database.transaction() as tx:
        tx.rows(
            "UPDATE images SET completed_at = now() - CAST(:age AS interval) WHERE uuid = :uuid", uuid=uuid, age=age
        )
    return uuid


def add(rt: Runtime, data: bytes) -> UUID:
    """Make a pending image, with an object in the inbox if there is data."""
    uuid = uuid4()
    rt.images.create(uuid, "by-hand.jpg", None, 0)
    if data:
        rt.inbox.put(f"{uuid}", data, "image/jpeg")
    return uuid


def queue(rt: Runtime, ago: timedelta) -> None:
    """Let pending images have waited for so long."""
    with rt.database.transaction() as tx:
        tx.rows("UPDATE images SET queued_at = now() - CAST(:ago AS interval) WHERE status = 'pending'", ago=ago)


def test_the_attempts_of_an_image_are_listed_with_outcomes_and_reasons(
    rt: Runtime, call: Call, deliver: Deliver, wait_in_inbox: WaitInInbox
) -> None:
    uuid = wait_in_inbox(make_photo())
    for error in (WorkerCrashed("for the test"), Unavailable("an outage")):  # the second does not count
        with pytest.raises(type(error)), rt.claims.hold(uuid):
            raise error
    assert deliver("process_image", ProcessingRequested.type, {"uuid": str(uuid)}) == 200

    found = call("list_attempts", "GET", f"/api/v1/images/{uuid}/attempts")["data"]

    assert [(each["outcome"], each["reason"]) for each in found] == [
        ("succeeded", None),
        ("crashed", "for the test"),
    ]
    assert [each["number"] for each in found] == [3, 1]
    assert all(each["startedAt"] <= each["endedAt"] for each in found)


def test_a_hidden_image_has_no_attempts(rt: Runtime, call: Call) -> None:
    uuid = uuid4()
    rt.images.reserve(uuid, "awaited.jpg")

    assert call("list_attempts", "GET", f"/api/v1/images/{uuid}/attempts", 404)["code"] == "image_not_found"


def test_dead_letters_are_listed_in_pages_and_discarded(call: Call, letters: list[str]) -> None:
    first = call("list_dead_letters", "GET", f"{PATH}/dead-letters?limit=2")
    second = call("list_dead_letters", "GET", f"{PATH}/dead-letters?limit=1&after={first['next']}")

    newest = [*first["data"], *second["data"]]
    assert [each["eventId"] for each in newest] == letters[::-1]
    assert {each["statusCode"] for each in newest} == {503}
    address = f"{PATH}/dead-letters/{newest[1]['id']}"
    assert call("get_dead_letter", "GET", address) == newest[1]
    for _ in range(2):
        assert call("discard_dead_letter", "DELETE", address) == {"message": "Dead letter discarded"}
    assert call("get_dead_letter", "GET", address, 404)["code"] == "dead_letter_not_found"
    kept = call("list_dead_letters", "GET", f"{PATH}/dead-letters?limit=2")["data"]
    assert [each["eventId"] for each in kept] == [letters[2], letters[0]]


def test_another_tenants_dead_letter_is_missing_and_stays(rt: Runtime, letters: list[str]) -> None:
    [newest] = rt.dead_letters.list(1)
    assert newest.event_id == letters[-1]

    with acting_for("another"):
        assert rt.dead_letters.list(1) == []
        with pytest.raises(NotFound):
            rt.dead_letters.get(newest.id)
        rt.dead_letters.discard(newest.id)

    assert rt.dead_letters.get(newest.id) == newest


def test_the_summary_counts_images_attempts_and_dead_letters(
    apart: Runtime,
) -> None:
    empty = apart.operations.summarize()
    assert set(empty.images.values()) == {0}
    assert (empty.oldest_pending_seconds, empty.oldest_processing_seconds, empty.publish_seconds) == (None, None, None)

    good, bad, held, _ = (add(apart, data) for data in (make_photo(), b"no image", b"", b""))
    for uuid in (good, bad):
        apart.processor.process(uuid)
    with apart.claims.hold(held):
        apart.images.reserve(uuid4(), "awaited.jpg")
        queue(apart, timedelta(minutes=5))
        summary = apart.operations.summarize()

    assert summary.images == {"awaiting_upload": 1, "pending": 1, "processing": 1, "succeeded": 1, "failed": 1}
    assert summary.oldest_pending_seconds == pytest.approx(300, abs=20)
    assert summary.oldest_processing_seconds == pytest.approx(0, abs=20)
    assert {(each.outcome, each.reason, each.count) for each in summary.attempts} == {
        ("succeeded", None, 1),
        ("failed", "unsupported_format", 1),
    }
    assert summary.publish_seconds is not None
    assert 0 < summary.publish_seconds.p50 <= summary.publish_seconds.p99 < 60


def test_durations_until_published_are_distributed(apart: Runtime) -> None:
    before = apart.operations.distribute((0.000001, 3600.0))
    apart.processor.process(add(apart, make_photo()))

    after = apart.operations.distribute((0.000001, 3600.0))

    assert [new - old for new, old in zip(after.counts, before.counts, strict=True)] == [0, 1, 0]
    assert before.seconds < after.seconds < before.seconds + 60


def test_the_comparison_adds_up_what_each_tenant_has_in_the_gallery(apart: Runtime) -> None:
    with acting_for("acme"):
        apart.ingestion.ingest("own.jpg", None, make_photo(), "image/jpeg")
    apart.processor.process(add(apart, make_photo()))
    apart.gallery.put("originals/orphan.jpg", b"nobody's", "image/jpeg")

    for _ in range(2):
        apart.drift.begin_scan(apart.gallery.name)
        with acting_for(ALL_TENANTS):
            while "gallery_compared" not in apart.reconciliation.run():
                pass

        stored = [each for each in apart.gallery.list() if each.key != "originals/orphan.jpg"]
        of_acme = sum(each.size for each in stored if each.key.startswith("t/acme/"))
        assert dict(apart.operations.list_sizes()) == {
            "acme": of_acme,
            "default": sum(each.size for each in stored) - of_acme,
        }
        assert of_acme > 0


def test_an_image_that_is_tried_again_has_not_waited_since_its_upload(apart: Runtime) -> None:
    uuid = add(apart, b"")
    queue(apart, timedelta(hours=5))
    with apart.database.transaction() as tx:
        waiting = [row["uuid"] for row in tx.rows("SELECT uuid FROM images WHERE status = 'pending'")]
    assert uuid in waiting
    for each in waiting:
        apart.images.give_up(each, FailureCode.WORKER_LOST, "for the test")

    assert apart.retries.retry([FailureCode.WORKER_LOST], days=7).images == len(waiting)

    assert apart.operations.summarize().oldest_pending_seconds == pytest.approx(0, abs=20)


def test_runs_of_reconciliation_and_their_repairs_are_counted(apart: Runtime) -> None:
    before = apart.operations.summarize().reconciliation
    orphan = f"{uuid4()}"
    apart.inbox.put(orphan, make_photo(), "image/jpeg")

    def adopt() -> bool:
        return "adopted" in apart.reconciliation.run()

    while not adopt():
        pass

    after = apart.operations.summarize().reconciliation
    assert after.runs > before.runs
    assert after.failed_runs == before.failed_runs
    assert after.last_run_at is not None
    assert datetime.now(UTC) - after.last_run_at < timedelta(seconds=30)
    assert {each.kind: each.total for each in after.repairs}["adopted"] == 1


def test_a_run_of_which_a_step_fails_is_counted_as_such(apart: Runtime) -> None:
    before = apart.operations.summarize().reconciliation
    store = apart.settings.store.model_copy(update={"upload_bucket": f"missing-{uuid4()}"})
    astray = Runtime(apart.settings.model_copy(update={"store": store}))

    with pytest.raises(Unavailable):
        astray.reconciliation.run()

    astray.database.disconnect()
    after = apart.operations.summarize().reconciliation
    assert (after.runs, after.failed_runs) == (before.runs + 1, before.failed_runs + 1)


def redrive(*arguments: str) -> str:
    command = [sys.executable, "-m", "shared_lib.commands.redrive", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_redrive_retries_by_code_and_time_once_and_shows_first_what_it_would_do(
    rt: Runtime, call: Call, wait_in_inbox: WaitInInbox
) -> None:
    code = FailureCode.SVG_TOO_LARGE  # no other test's image has it
    hours = timedelta(hours=1)
    now, earlier, early = (fail(rt, wait_in_inbox, code, age * hours) for age in (0, 2, 4))
    since = (datetime.now(UTC) - 3 * hours).isoformat()
    until = (datetime.now(UTC) - hours).isoformat()
    order = {"codes": [code], "failedSince": since, "failedUntil": until}

    def post(**more: object) -> dict[str, Any]:
        return call("redrive_failures", "POST", f"{PATH}/actions/redrive", json=order | more)

    assert post(dryRun=True) == {"images": 1, "mayHaveMore": False, "dryRun": True}
    assert redrive(code, "--since", since, "--dry-run") == "2 images would be tried again"
    assert rt.image_queries.get(earlier).status is ImageStatus.FAILED
    assert post() == {"images": 1, "mayHaveMore": False, "dryRun": False}
    assert post() == {"images": 0, "mayHaveMore": False, "dryRun": False}
    assert [rt.image_queries.get(uuid).status.value for uuid in (now, earlier, early)] == [
        "failed",
        "pending",
        "failed",
    ]
    assert redrive(code) == "2 images will be tried again"


def test_redrive_retries_renditions_by_the_time_when_they_failed(
    rt: Runtime, call: Call, deliver: Deliver, wait_in_inbox: WaitInInbox
) -> None:
    uuid = wait_in_inbox(make_photo())
    assert deliver("process_image", ProcessingRequested.type, {"uuid": str(uuid)}) == 200
    rt.images.request(uuid, "more.jpg", None, [rt.recipes.presets["small"]], describe=False)
    with rt.claims.hold(uuid) as claim:
        assert claim
        rt.claims.fail(claim, Rejected(FailureCode.ANIMATION_TOO_LARGE, "for the test"))
    order = {"codes": ["animation_too_large"]}
    future = {"failedSince": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}

    def post(**more: object) -> int:
        images: int = call("redrive_failures", "POST", f"{PATH}/actions/redrive", json=order | more)["images"]
        return images

    assert (post(**future), post(dryRun=True), post(), post()) == (0, 1, 1, 0)
    assert rt.image_queries.get(uuid).pending_renditions == ("small",)


@pytest.mark.parametrize(
    "moment", ["yesterday", "2026-03-08", "2026-03-08T19:02:11", 1772996531, None, "2026-13-01T00:00:00Z"]
)
def test_redrive_says_what_a_time_looks_like(call: Call, moment: object) -> None:
    order = json.dumps({"failedSince": moment, "dryRun": True})
    expected = 200 if moment is None else 400

    body = call(
        "redrive_failures", "POST", f"{PATH}/actions/redrive", expected, data=order, content_type="application/json"
    )

    assert moment is None or body["details"][0]["parameter"] == "failedSince"
