"""Requested renditions are made once each, whatever else happens to the image."""

import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
from PIL import Image
from service import Api, Deliver, WaitInInbox, make_photo, wait_for

from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.domain.images import ImageStatus
from shared_lib.errors import Conflict, FailureCode, Rejected, WorkerCrashed
from shared_lib.events import ProcessingRequested
from shared_lib.limits import Limits
from shared_lib.pipeline.formats import Format
from shared_lib.pipeline.recipe import Recipe
from shared_lib.pipeline.recipe_schema import read_recipe
from shared_lib.pipeline.rendition import Rendered
from shared_lib.pipeline.sandbox.pool import Sandbox
from shared_lib.runtime import Runtime
from shared_lib.services.renderer import Renderer, RenderRequest

REQUESTED = ProcessingRequested.type
SMALL = read_recipe({"name": "small", "operations": [{"kind": "resize", "width": 50, "height": 50}]})
SMALLER = read_recipe({"name": "small", "operations": [{"kind": "resize", "width": 20, "height": 20}]})
HUGE = read_recipe({"name": "huge", "operations": [{"kind": "resize", "width": 8000, "height": 8000}]})

GREEDY = read_recipe(
    {
        "name": "greedy",
        "operations": [
            {"kind": "resize", "width": 4400, "height": 4400},
            {"kind": "blur", "sigma": 50},
            {"kind": "circle"},
        ],
        "output": {"format": "png"},
    }
)


@dataclass(frozen=True)
class InterruptedRenderer(Renderer):
    interrupt: Callable[[], bool]
    results: list[bool]

    def render(self, request: RenderRequest) -> Rendered:
        self.results.append(self.interrupt())
        return super().render(request)


@pytest.fixture
def process(deliver: Deliver) -> Callable[[UUID], int]:
    return lambda uuid: deliver("process_image", REQUESTED, {"uuid": str(uuid)})


@pytest.fixture
def succeeded(wait_in_inbox: WaitInInbox, process: Callable[[UUID], int]) -> UUID:
    uuid = wait_in_inbox(make_photo())
    assert process(uuid) == 200
    return uuid


@pytest.fixture
def with_small(rt: Runtime, succeeded: UUID, process: Callable[[UUID], int]) -> UUID:
    """Return a succeeded image that also has the rendition SMALL."""
    request(rt, succeeded, SMALL)
    process(succeeded)
    return succeeded


@pytest.fixture(scope="module")
def small_sandbox() -> Iterator[Sandbox]:
    """A sandbox in which GREEDY runs out of memory, and with it all recipes of the same job."""
    sandbox = Sandbox(Limits(memory_bytes=200 << 20), workers=1)
    yield sandbox
    sandbox.close()


def request(rt: Runtime, uuid: UUID, *recipes: Recipe) -> bool:
    return rt.images.request(uuid, "by-hand.jpg", None, recipes, describe=False)


def process_with(rt: Runtime, uuid: UUID, *, meanwhile: Callable[[], bool] = lambda: False, **changes: Any) -> bool:
    """Process an image with a renderer that is changed in some way.

    `meanwhile` is called while the image is claimed and read, but not rendered yet. Its result is returned.
    """
    renderer = InterruptedRenderer(**vars(rt.renderer) | changes, interrupt=meanwhile, results=[])
    replace(rt.processor, renderer=renderer).process(uuid)
    return renderer.results[0]


def sign(name: str, mark: UUID) -> Recipe:
    operations = [{"kind": "watermark", "image": str(mark), "gravity": "northwest"}]
    return read_recipe({"name": name, "operations": operations, "output": {"format": "png"}})


def names(rt: Runtime, uuid: UUID) -> list[str]:
    return [each.name for each in rt.image_queries.get(uuid).renditions]


def widths(rt: Runtime, uuid: UUID) -> list[int]:
    return [each.width for each in rt.image_queries.get(uuid).renditions]


def codes(rt: Runtime, uuid: UUID) -> dict[str, str]:
    return {each.name: each.failure.code for each in rt.image_queries.get(uuid).failed_renditions}


def uses_much_memory(worker: psutil.Process) -> bool:
    """As only GREEDY makes a worker do."""
    return bool(worker.memory_info().rss > 150 << 20)


def list_workers() -> Iterator[psutil.Process]:
    """Yield the workers that zygotes of this process have forked."""
    for zygote in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # it has ended, as a zygote does whose worker died
            if "shared_lib.pipeline.sandbox.zygote" in zygote.cmdline():
                yield from zygote.children()


@contextmanager
def kill_workers(is_doomed: Callable[[psutil.Process], bool] = uses_much_memory) -> Iterator[None]:
    """Kill such workers of this process, as a crash would."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            for worker in list_workers():
                with suppress(psutil.NoSuchProcess):
                    if is_doomed(worker):
                        worker.kill()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def test_a_rendition_requested_before_processing_is_made_with_the_thumbnail(
    rt: Runtime, wait_in_inbox: WaitInInbox, process: Callable[[UUID], int]
) -> None:
    uuid = wait_in_inbox(make_photo())
    assert request(rt, uuid, SMALL)
    assert rt.image_queries.get(uuid).pending_renditions == ("small",)

    process(uuid)

    image = rt.image_queries.get(uuid)
    assert (names(rt, uuid), image.pending_renditions, image.attempts) == (["small", "thumbnail"], (), 1)


def test_an_image_stays_succeeded_while_further_renditions_are_made(
    rt: Runtime, succeeded: UUID, process: Callable[[UUID], int]
) -> None:
    before = rt.image_queries.get(succeeded)
    assert request(rt, succeeded, SMALL)
    with rt.claims.hold(succeeded) as claim:
        assert claim
        assert claim.requested == (SMALL,)
        assert rt.image_queries.get(succeeded).status is ImageStatus.SUCCEEDED
        with pytest.raises(Conflict), rt.claims.hold(succeeded):
            pytest.fail("two workers hold the same image")
        rt.claims.withdraw(claim)

    assert process(succeeded) == 200

    after = rt.image_queries.get(succeeded)
    assert names(rt, succeeded) == ["small", "thumbnail"]
    assert (after.thumbnail, after.metadata, after.sha256) == (before.thumbnail, before.metadata, before.sha256)


def test_a_recipe_that_was_made_before_is_reused_under_any_name(rt: Runtime, with_small: UUID) -> None:
    alias = replace(SMALL, name="alias")
    assert not request(rt, with_small, SMALL)
    assert not request(rt, with_small, alias)

    with rt.claims.hold(with_small) as claim:
        assert claim is None
    assert names(rt, with_small) == ["alias", "small", "thumbnail"]
    assert len(list(rt.gallery.list(f"{with_small}/"))) == 1


def test_a_new_recipe_replaces_a_rendition_of_the_same_name_once_it_is_made(
    rt: Runtime, with_small: UUID, process: Callable[[UUID], int]
) -> None:
    request(rt, with_small, SMALLER)
    assert widths(rt, with_small) == [50, 100]
    process(with_small)

    assert widths(rt, with_small) == [20, 100]


def test_a_rendition_request_during_processing_is_not_lost(
    rt: Runtime, wait_in_inbox: WaitInInbox, process: Callable[[UUID], int]
) -> None:
    uuid = wait_in_inbox(make_photo())
    process_with(rt, uuid, meanwhile=lambda: request(rt, uuid, SMALL))
    assert names(rt, uuid) == ["thumbnail"]

    overdue = wait_for(lambda: rt.drift.find_overdue(30), lambda found: uuid in {e.uuid for e in found})
    assert next(each for each in overdue if each.uuid == uuid).succeeded
    process(uuid)

    assert names(rt, uuid) == ["small", "thumbnail"]


def test_a_rendition_that_cannot_be_made_fails_alone_with_a_message(
    rt: Runtime, wait_in_inbox: WaitInInbox, process: Callable[[UUID], int]
) -> None:
    uuid = wait_in_inbox(make_photo())
    request(rt, uuid, HUGE, SMALL)

    process(uuid)

    image = rt.image_queries.get(uuid)
    assert (image.status, names(rt, uuid)) == (ImageStatus.SUCCEEDED, ["small", "thumbnail"])
    (failed,) = image.failed_renditions
    assert failed.name == "huge"
    assert "8,000" in failed.failure.message
    with rt.claims.hold(uuid) as claim:
        assert claim is None


def test_the_failure_of_further_renditions_is_announced_even_late(rt: Runtime, succeeded: UUID) -> None:
    request(rt, succeeded, SMALL)
    with rt.claims.hold(succeeded) as claim:
        assert claim
        # Its worker dies before it can announce this.
        rt.claims.fail(claim, Rejected(FailureCode.DECODER_TIMEOUT, "for the test"))

    assert succeeded in rt.drift.find_unannounced(0)

    assert rt.announcer.announce(succeeded)
    assert succeeded not in rt.drift.find_unannounced(0)


def test_a_further_rendition_that_keeps_crashing_its_worker_fails_alone(rt: Runtime, succeeded: UUID) -> None:
    request(rt, succeeded, SMALL)
    for _ in range(rt.settings.processing.max_abnormal_attempts):
        with pytest.raises(WorkerCrashed), rt.claims.hold(succeeded):
            raise WorkerCrashed("for the test")

    with rt.claims.hold(succeeded) as claim:
        assert claim is None

    image = rt.image_queries.get(succeeded)
    assert (image.status, image.pending_renditions) == (ImageStatus.SUCCEEDED, ())
    assert codes(rt, succeeded) == {"small": "decoder_crashed"}


def test_a_dead_workers_further_renditions_are_made_by_another(
    rt: Runtime, succeeded: UUID, expire_lease: Callable[[UUID], None], process: Callable[[UUID], int]
) -> None:
    request(rt, succeeded, SMALL)
    with rt.claims.hold(succeeded) as stale:
        assert stale
        expire_lease(succeeded)
        assert succeeded in {each.uuid for each in rt.drift.find_overdue(0.01)}
        assert process(succeeded) == 200
        with pytest.raises(Conflict):
            rt.claims.succeed(stale, rt.sandbox.render(make_photo(), [SMALL]), {"small": "nowhere"})

    assert names(rt, succeeded) == ["small", "thumbnail"]


def test_deleting_an_image_while_further_renditions_are_made_leaves_no_objects(
    rt: Runtime, api: Api, wait_in_inbox: WaitInInbox, process: Callable[[UUID], int]
) -> None:
    original = make_photo()
    succeeded = wait_in_inbox(original)
    process(succeeded)
    request(rt, succeeded, SMALL)
    with pytest.raises(Conflict), rt.claims.hold(succeeded) as claim:
        assert claim
        assert api("DELETE", f"/images/{succeeded}").status_code == 200
        rendered = rt.renderer.render(RenderRequest(original=original, tenant=DEFAULT_TENANT, recipes=(SMALL,)))
        rt.publisher.publish(claim, original, rendered, in_gallery=True)

    process(succeeded)

    assert list(rt.gallery.list(f"{succeeded}/")) == []
    assert rt.gallery.head(f"originals/{hashlib.sha256(original).hexdigest()}.jpg") is None


def test_equal_images_share_an_original_that_stays_until_the_last_is_deleted(
    rt: Runtime, api: Api, wait_in_inbox: WaitInInbox, process: Callable[[UUID], int]
) -> None:
    photo = make_photo()
    key = f"originals/{hashlib.sha256(photo).hexdigest()}.jpg"
    first, second = wait_in_inbox(photo), wait_in_inbox(photo)
    for uuid in (first, second):
        process(uuid)
    stored = rt.gallery.head(key)

    assert api("DELETE", f"/images/{first}").status_code == 200
    assert rt.gallery.head(key) == stored
    assert request(rt, second, SMALL)
    process(second)
    assert names(rt, second) == ["small", "thumbnail"]

    assert api("DELETE", f"/images/{second}").status_code == 200
    assert rt.gallery.head(key) is None


def test_an_original_that_is_about_to_be_stored_is_not_deleted(
    rt: Runtime, api: Api, wait_in_inbox: WaitInInbox, process: Callable[[UUID], int]
) -> None:
    photo = make_photo()
    original = rt.gallery.describe_original(photo, Format.JPEG, DEFAULT_TENANT)
    first, second = wait_in_inbox(photo), wait_in_inbox(photo)
    process(first)
    with rt.claims.hold(second) as claim:
        assert claim
        rt.claims.name_original(claim, original)
        assert api("DELETE", f"/images/{first}").status_code == 200
        assert rt.gallery.head(original.key), "the second image is about to rely on it"
        rt.claims.withdraw(claim)


def test_a_stored_image_is_used_as_a_watermark(
    rt: Runtime, wait_in_inbox: WaitInInbox, process: Callable[[UUID], int]
) -> None:
    with io.BytesIO() as file:
        Image.new("RGB", (40, 40), (255, 0, 0)).save(file, "PNG")
        mark = wait_in_inbox(file.getvalue())
    process(mark)
    uuid = wait_in_inbox(make_photo())

    request(rt, uuid, sign("signed", mark), sign("lost", uuid4()))
    process(uuid)

    found = rt.renditions.find(uuid, "signed")
    assert found.key
    data = rt.gallery.read(found.key)
    assert data
    assert Image.open(io.BytesIO(data)).convert("RGB").getpixel((10, 10)) == (255, 0, 0)
    assert codes(rt, uuid) == {"lost": "watermark_missing"}


def test_a_recipe_whose_watermark_exceeds_the_size_limit_fails_alone(
    rt: Runtime, succeeded: UUID, wait_in_inbox: WaitInInbox
) -> None:
    photo = make_photo()
    uuid = wait_in_inbox(photo)
    request(rt, uuid, sign("signed", succeeded))
    process_with(rt, uuid, limits=Limits(max_bytes=len(photo) + 1))

    assert names(rt, uuid) == ["thumbnail"]
    assert codes(rt, uuid) == {"signed": FailureCode.WATERMARK_MISSING}


def test_an_image_has_at_most_100_renditions(rt: Runtime, succeeded: UUID) -> None:
    def many(count: int) -> list[Recipe]:
        return [replace(SMALL, name=f"n{number}") for number in range(count)]

    assert request(rt, succeeded, *many(99))
    with pytest.raises(Conflict, match="at most 100 renditions"):
        request(rt, succeeded, *many(101))
    assert len(rt.image_queries.get(succeeded).pending_renditions) == 99


def test_a_requested_recipe_is_stored_without_loss(rt: Runtime, succeeded: UUID) -> None:
    operations = [{"kind": "resize", "width": 10, "fit": "inside"}]
    recipe = read_recipe({"name": "x", "operations": operations, "output": {"format": "webp"}})

    request(rt, succeeded, recipe)

    with rt.claims.hold(succeeded) as claim:
        assert claim
        assert (claim.requested, claim.requested[0].hash) == ((recipe,), recipe.hash)
        rt.claims.withdraw(claim)


def test_a_fulfilled_rendition_request_is_not_overdue(
    rt: Runtime, succeeded: UUID, process: Callable[[UUID], int]
) -> None:
    request(rt, succeeded, SMALL)
    assert process_with(rt, succeeded, meanwhile=lambda: request(rt, succeeded, SMALL))

    process(succeeded)

    assert succeeded not in {each.uuid for each in rt.drift.find_overdue(0.01)}


def test_the_last_recipe_requested_under_a_name_wins(rt: Runtime, with_small: UUID) -> None:
    request(rt, with_small, SMALLER)

    assert not process_with(rt, with_small, meanwhile=lambda: request(rt, with_small, SMALL)), "it exists already"

    assert widths(rt, with_small) == [50, 100]


def test_further_names_of_an_existing_rendition_count_towards_the_limit(rt: Runtime, succeeded: UUID) -> None:
    thumbnail = rt.recipes.presets["thumbnail"]
    with pytest.raises(Conflict, match="at most 100 renditions"):
        request(rt, succeeded, *(replace(thumbnail, name=f"n{number}") for number in range(100)))


def test_a_lost_original_is_stored_again_with_an_equal_image(
    rt: Runtime, wait_in_inbox: WaitInInbox, process: Callable[[UUID], int]
) -> None:
    photo = make_photo()
    key = f"originals/{hashlib.sha256(photo).hexdigest()}.jpg"
    process(wait_in_inbox(photo))
    rt.gallery.delete(key)

    process(wait_in_inbox(photo))

    assert rt.gallery.head(key)


@pytest.mark.parametrize("has_succeeded", [False, True])
def test_a_recipe_that_runs_out_of_memory_fails_alone(
    rt: Runtime, wait_in_inbox: WaitInInbox, small_sandbox: Sandbox, *, has_succeeded: bool
) -> None:
    uuid = wait_in_inbox(make_photo())
    if has_succeeded:
        process_with(rt, uuid)
    request(rt, uuid, GREEDY, SMALL)

    process_with(rt, uuid, sandbox=small_sandbox)

    assert (rt.image_queries.get(uuid).status, names(rt, uuid)) == (ImageStatus.SUCCEEDED, ["small", "thumbnail"])
    assert codes(rt, uuid) == {"greedy": "decoder_out_of_memory"}


def test_recipes_that_take_too_long_one_by_one_fail_with_the_common_jobs_reason(
    rt: Runtime, wait_in_inbox: WaitInInbox, small_sandbox: Sandbox
) -> None:
    uuid = wait_in_inbox(make_photo())
    request(rt, uuid, GREEDY, SMALL)

    process_with(rt, uuid, sandbox=small_sandbox, limits=Limits(wall_seconds=0.01))

    assert names(rt, uuid) == ["thumbnail"]
    assert codes(rt, uuid) == dict.fromkeys(("greedy", "small"), "decoder_out_of_memory")


def test_recipes_that_are_rendered_one_by_one_share_the_output_limit(
    rt: Runtime, wait_in_inbox: WaitInInbox, small_sandbox: Sandbox
) -> None:
    uuid = wait_in_inbox(make_photo())
    request(rt, uuid, GREEDY, SMALL, replace(SMALL, name="tiny", operations=()))

    process_with(rt, uuid, sandbox=small_sandbox, limits=Limits(max_output_bytes=6000))

    assert names(rt, uuid) == ["small", "thumbnail"]
    assert codes(rt, uuid) == {"greedy": "decoder_out_of_memory", "tiny": "output_too_many_bytes"}


def test_an_image_without_a_thumbnail_fails(rt: Runtime, wait_in_inbox: WaitInInbox, small_sandbox: Sandbox) -> None:
    uuid = wait_in_inbox(make_photo(6000, 6000, progressive=True, subsampling=0))
    request(rt, uuid, SMALL)

    process_with(rt, uuid, sandbox=small_sandbox)

    failure = rt.image_queries.get(uuid).failure
    assert failure
    assert (failure.code, "MiB of memory" in failure.message) == ("decoder_out_of_memory", True)


def test_at_the_last_attempt_only_the_recipe_that_crashes_the_worker_fails(rt: Runtime, succeeded: UUID) -> None:
    request(rt, succeeded, GREEDY, SMALL)
    for _ in range(rt.settings.processing.max_abnormal_attempts - 1):
        with pytest.raises(WorkerCrashed), kill_workers():
            process_with(rt, succeeded)

    with kill_workers():
        process_with(rt, succeeded)

    assert names(rt, succeeded) == ["small", "thumbnail"]
    assert codes(rt, succeeded) == {"greedy": "decoder_crashed"}


def test_a_recipe_that_crashes_its_worker_alone_is_tried_again(rt: Runtime, succeeded: UUID) -> None:
    request(rt, succeeded, GREEDY, SMALL)
    sandbox = Sandbox(Limits(memory_bytes=200 << 20), workers=1)
    busy: list[int] = []

    def is_second(worker: psutil.Process) -> bool:
        if worker.cpu_times().user > 0.02 and worker.pid not in busy:
            busy.append(worker.pid)
        return worker.pid in busy[1:]  # the first one runs out of memory with both recipes

    with pytest.raises(WorkerCrashed), kill_workers(is_second):
        process_with(rt, succeeded, sandbox=sandbox)
    sandbox.close()

    assert rt.image_queries.get(succeeded).pending_renditions == ("greedy", "small")


def insert_request(rt: Runtime, uuid: UUID, name: str, described: dict[str, Any]) -> None:
    """Insert a rendition request as another release may have written it, with a recipe that this one may not know."""
    with rt.database.transaction() as tx:
        tx.rows(
            """INSERT INTO rendition_requests (image_id, name, recipe_hash, recipe)
               VALUES (:uuid, :name, 'hash of another release', CAST(:recipe AS jsonb))""",
            uuid=uuid,
            name=name,
            recipe=json.dumps({"name": name} | described),
        )
        tx.rows("UPDATE images SET due_at = now() WHERE uuid = :uuid", uuid=uuid)


@pytest.mark.parametrize("has_succeeded", [False, True])
def test_a_stored_recipe_that_this_release_cannot_read_fails_alone(
    rt: Runtime, wait_in_inbox: WaitInInbox, process: Callable[[UUID], int], *, has_succeeded: bool
) -> None:
    uuid = wait_in_inbox(make_photo())
    if has_succeeded:
        process(uuid)
    request(rt, uuid, SMALL)
    insert_request(rt, uuid, "strange", {"operations": [{"kind": "resize", "width": 9, "dither": True}]})

    assert process(uuid) == 200

    assert (rt.image_queries.get(uuid).status, names(rt, uuid)) == (ImageStatus.SUCCEEDED, ["small", "thumbnail"])
    assert codes(rt, uuid) == {"strange": "unsupported_recipe"}
    [failed] = rt.image_queries.get(uuid).failed_renditions
    assert "dither" in failed.failure.message


def test_the_failure_of_an_unreadable_stored_recipe_is_announced(
    rt: Runtime, succeeded: UUID, process: Callable[[UUID], int]
) -> None:
    rt.announcer.announce(succeeded)
    ended = rt.image_queries.get(succeeded).completed_at
    insert_request(rt, succeeded, "strange", {"operations": [{"kind": "from_the_future"}]})

    assert process(succeeded) == 200

    image = rt.image_queries.get(succeeded)
    assert codes(rt, succeeded) == {"strange": "unsupported_recipe"}
    assert image.completed_at
    assert ended
    assert image.completed_at > ended
    assert succeeded not in {each.uuid for each in rt.drift.find_overdue(0.01)}


def test_a_stored_recipe_with_the_hash_of_another_release_is_made(
    rt: Runtime, succeeded: UUID, process: Callable[[UUID], int]
) -> None:
    insert_request(rt, succeeded, "small", {"operations": [{"kind": "resize", "width": 50, "height": 50}]})

    process(succeeded)

    assert (names(rt, succeeded), rt.image_queries.get(succeeded).pending_renditions) == (["small", "thumbnail"], ())


def test_further_requests_do_not_reset_the_count_of_dead_workers(
    rt: Runtime, succeeded: UUID, expire_lease: Callable[[UUID], None]
) -> None:
    request(rt, succeeded, SMALL)
    for number in range(rt.settings.processing.max_abnormal_attempts):
        with rt.claims.hold(succeeded) as claim:
            assert claim
            request(rt, succeeded, replace(SMALL, name=f"more-{number}"))
            expire_lease(succeeded)

    with rt.claims.hold(succeeded) as claim:
        assert claim is None
    assert set(codes(rt, succeeded).values()) == {"worker_lost"}


def test_a_request_during_each_attempt_does_not_use_up_the_attempts(rt: Runtime, succeeded: UUID) -> None:
    def shrink(width: int) -> bool:
        operation = {"kind": "resize", "width": width, "height": width}
        return request(rt, succeeded, read_recipe({"name": "again", "operations": [operation]}))

    shrink(10)
    for number in range(rt.settings.processing.max_attempts + 1):
        assert process_with(rt, succeeded, meanwhile=partial(shrink, 11 + number))
        assert rt.image_queries.get(succeeded).attempts == 1
    assert codes(rt, succeeded) == {}


def test_an_unknown_failure_code_or_metadata_does_not_break_a_page(rt: Runtime, api: Api, succeeded: UUID) -> None:
    insert_request(rt, succeeded, "strange", {})
    with rt.database.transaction() as tx:
        tx.rows(
            """UPDATE rendition_requests SET failure_code = 'from_the_future', failure_message = 'as it said'
               WHERE image_id = :uuid""",
            uuid=succeeded,
        )
        tx.rows(
            """UPDATE images SET metadata = '{"from": "the future"}', filename = 'another-release.jpg'
               WHERE uuid = :uuid""",
            uuid=succeeded,
        )

    [image] = api("GET", "/images", params={"search": "another-release.jpg"}).json()

    assert image["metadata"] is None
    assert image["failedRenditions"] == [{"name": "strange", "error": {"code": "other", "message": "as it said"}}]


def test_a_rendition_that_failed_for_its_cost_backs_off(rt: Runtime, succeeded: UUID) -> None:
    def fail(code: FailureCode, recipe: Recipe) -> None:
        assert request(rt, succeeded, recipe)
        with rt.claims.hold(succeeded) as claim:
            assert claim
            rt.claims.fail(claim, Rejected(code, "for the test"))

    def shift_failures(minutes: int) -> None:
        with rt.database.transaction() as tx:
            tx.rows(
                """UPDATE rendition_requests SET failed_at = failed_at - make_interval(mins => :minutes)
                   WHERE image_id = :uuid""",
                minutes=minutes,
                uuid=succeeded,
            )

    fail(FailureCode.DECODER_TIMEOUT, GREEDY)
    assert not request(rt, succeeded, GREEDY), "a minute has not passed"
    assert codes(rt, succeeded) == {"greedy": "decoder_timeout"}
    assert request(rt, succeeded, replace(GREEDY, operations=GREEDY.operations[:1])), "another recipe is not affected"

    fail(FailureCode.DECODER_TIMEOUT, GREEDY)
    shift_failures(1)
    fail(FailureCode.DECODER_CRASHED, GREEDY)
    shift_failures(1)
    assert not request(rt, succeeded, GREEDY), "the second time it takes two minutes"
    shift_failures(1)
    assert request(rt, succeeded, GREEDY)

    fail(FailureCode.OUTPUT_TOO_LARGE, HUGE)
    assert request(rt, succeeded, HUGE), "a cheap failure is tried again at once"
