"""The gallery's queue of uploads, in a browser, on the real service."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from gallery import SECONDS, Gallery
from playwright.sync_api import Request, Route, expect
from service import Api, Platform, find_consumers, find_processes, make_photo, wait_for

from shared_lib.runtime import Runtime

MB = 1_000_000
REPAIR_SECONDS = 110  # an event that was never sent is made good by a tick, a minute after its half minute of grace


def find_named(api: Api, word: str) -> list[str]:
    """Return the names of all images whose name has this word."""
    found = api("GET", f"/images?search={word}&status=all&include=none&limit=100").json()
    return sorted(each["filename"] for each in found)


def test_a_file_that_the_service_has_is_not_sent_again_unless_the_user_wants_it(
    gallery: Gallery, api: Api, word: str
) -> None:
    photo = make_photo()
    api.await_end(api.upload(photo, f"first-{word}.jpg"))
    sent: list[str] = []
    gallery.page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    gallery.open()
    gallery.choose_files(**{f"second-{word}_jpg": photo})

    expect(gallery.upload_row(f"second-{word}.jpg")).to_contain_text(f"Already there as first-{word}.jpg")
    assert sent == []
    gallery.page.get_by_role("button", name=f"Open second-{word}.jpg").click()
    expect(gallery.page.get_by_role("heading", name=f"first-{word}.jpg")).to_be_visible()
    gallery.page.keyboard.press("Escape")
    gallery.page.get_by_role("button", name=f"Upload second-{word}.jpg all the same").click()
    gallery.await_picture(f"second-{word}.jpg")
    assert find_named(api, word) == [f"first-{word}.jpg", f"second-{word}.jpg"]


@pytest.fixture
def count_rows(rt: Runtime) -> Callable[[str], int]:
    """Count the images whose name has a word, also those that await their upload, which no list shows."""

    def count(word: str) -> int:
        with rt.database.transaction() as tx:
            found: int = tx.rows(
                "SELECT count(*) AS n FROM images WHERE filename LIKE :name AND deleted_at IS NULL", name=f"%{word}%"
            )[0]["n"]
        return found

    return count


def cancel(gallery: Gallery, name: str) -> None:
    gallery.page.get_by_role("button", name=f"Cancel {name}").click()
    expect(gallery.upload_row(name)).to_have_count(0)


def test_a_file_that_is_canceled_while_it_is_hashed_is_never_sent(
    gallery: Gallery, word: str, tmp_path: Path, count_rows: Callable[[str], int]
) -> None:
    large = tmp_path / f"large-{word}.bmp"
    with large.open("wb") as file:
        file.truncate(300 * MB)
    small = tmp_path / f"small-{word}.jpg"
    small.write_bytes(make_photo())
    gallery.open()
    gallery.page.locator("header input[type=file]").first.set_input_files([large, small])
    for path in (small, large):
        cancel(gallery, path.name)
    gallery.page.wait_for_timeout(4 * SECONDS)  # both would be hashed by now

    gallery.choose_files(**{f"other_{word}_jpg": make_photo()})
    gallery.await_picture(f"other_{word}.jpg")
    assert count_rows(word) == 1


def test_a_file_that_is_canceled_during_an_outage_is_not_sent_after_it(
    gallery: Gallery, word: str, count_rows: Callable[[str], int]
) -> None:
    gallery.open()
    gallery.page.context.set_offline(True)
    gallery.choose_files(**{f"waiting-{word}_jpg": make_photo()})
    expect(gallery.upload_row(f"waiting-{word}.jpg")).to_contain_text("cannot be reached")
    cancel(gallery, f"waiting-{word}.jpg")
    gallery.page.context.set_offline(False)

    gallery.page.wait_for_timeout(6 * SECONDS)  # longer than the page waits after a first failure
    assert count_rows(word) == 0


@pytest.mark.parametrize("arrives", [True, False])
def test_a_file_that_is_canceled_while_it_is_sent_leaves_nothing(
    gallery: Gallery, word: str, count_rows: Callable[[str], int], *, arrives: bool
) -> None:
    sent: list[str] = []

    def hold(route: Route) -> None:
        if not carries_bytes(route.request):
            return route.continue_()
        if arrives:
            route.fetch()
        sent.append(route.request.url)
        cancel(gallery, f"sent-{word}.jpg")
        return route.abort()

    gallery.page.route("**/*", hold)
    gallery.open()
    gallery.choose_files(**{f"sent-{word}_jpg": make_photo()})
    gallery.page.wait_for_timeout(3 * SECONDS)

    assert sent
    wait_for(lambda: count_rows(word), lambda rows: rows == 0)


def carries_bytes(request: Request) -> bool:
    return request.method == "PUT" or request.url.endswith("/actions/upload")


def test_two_people_who_upload_the_same_file_at_once_both_keep_theirs(
    gallery: Gallery, api: Api, platform: Platform, word: str
) -> None:
    """The page's answer gets lost while a colleague's equal image waits to be processed."""
    photo, name = make_photo(), f"shared-{word}.jpg"
    colleagues: list[str] = []

    def lose(route: Route) -> None:
        if not carries_bytes(route.request) or colleagues:
            return route.continue_()
        colleagues.append(api.upload(photo, name))
        return route.abort()

    gallery.page.route("**/*", lose)
    gallery.open()
    consumers = find_consumers(platform)
    consumers.send_signal(signal.SIGSTOP)
    try:
        gallery.choose_files(**{f"shared-{word}_jpg": photo})
        expect(gallery.upload_row(name)).to_contain_text("Making the picture", timeout=30 * SECONDS)
    finally:
        consumers.send_signal(signal.SIGCONT)

    assert api.await_end(colleagues[0])["status"] == "succeeded"
    assert find_named(api, word) == [name, name]


def test_an_upload_whose_answer_got_lost_is_found_by_its_uuid_and_not_sent_again(
    gallery: Gallery, api: Api, word: str
) -> None:
    sent: list[str] = []

    def lose(route: Route) -> None:
        if not carries_bytes(route.request):
            return route.continue_()
        sent.append(route.request.url)
        route.fetch()
        return route.abort()

    gallery.page.route("**/*", lose)
    gallery.open()
    gallery.choose_files(**{f"once-{word}_jpg": make_photo()})

    gallery.await_picture(f"once-{word}.jpg")
    assert len(sent) == 1
    assert find_named(api, word) == [f"once-{word}.jpg"]


def test_equal_files_of_one_choice_are_sent_once(gallery: Gallery, api: Api, word: str) -> None:
    photo = make_photo()
    gallery.open()
    gallery.choose_files(**{f"one-{word}_jpg": photo, f"two-{word}_jpg": photo})

    expect(gallery.upload_row(f"two-{word}.jpg")).to_contain_text(f"Already there as one-{word}.jpg")
    gallery.await_picture(f"one-{word}.jpg")
    assert find_named(api, word) == [f"one-{word}.jpg"]


def test_a_paused_queue_begins_no_file_until_it_is_resumed(gallery: Gallery, api: Api, word: str) -> None:
    gallery.open()
    gallery.choose_files(**{f"before-{word}_jpg": make_photo()})
    gallery.page.get_by_role("button", name="Pause uploads").click()
    gallery.await_picture(f"before-{word}.jpg")
    gallery.choose_files(**{f"after-{word}_jpg": make_photo()})
    expect(gallery.upload_row(f"after-{word}.jpg")).to_contain_text("Waiting")
    expect(gallery.page.get_by_role("region", name="Uploads").get_by_role("status")).to_contain_text("paused")
    assert find_named(api, word) == [f"before-{word}.jpg"]

    gallery.page.get_by_role("button", name="Resume uploads").click()
    gallery.await_picture(f"after-{word}.jpg")


def test_leaving_the_page_warns_while_a_file_waits(gallery: Gallery, word: str) -> None:
    gallery.open()
    gallery.choose_files(**{f"before-{word}_jpg": make_photo()})
    gallery.page.get_by_role("button", name="Pause uploads").click()
    gallery.choose_files(**{f"waiting-{word}_jpg": make_photo()})
    expect(gallery.upload_row(f"waiting-{word}.jpg")).to_contain_text("Waiting")
    is_stopped = "!dispatchEvent(new Event('beforeunload', {cancelable: true}))"
    assert gallery.page.evaluate(is_stopped)

    gallery.page.get_by_role("button", name="Resume uploads").click()
    gallery.await_picture(f"waiting-{word}.jpg")
    assert not gallery.page.evaluate(is_stopped)


@pytest.mark.timeout(180)
def test_uploads_arrive_once_although_the_api_is_killed_meanwhile(
    gallery: Gallery, api: Api, platform: Platform, word: str
) -> None:
    gallery.open()
    names = [f"{number}-{word}" for number in range(8)]
    gallery.choose_files(**{f"{name}_jpg": make_photo(800, 600) for name in names})
    expect(gallery.page.locator("li.upload.processing, li.upload.done").first).to_be_visible(timeout=20 * SECONDS)
    for process in find_processes(platform, module="infra.local.gateway"):
        process.kill()  # the supervisor starts another

    for name in names:
        expect(gallery.upload_row(f"{name}.jpg")).to_have_class(re.compile("done"), timeout=REPAIR_SECONDS * SECONDS)
    assert find_named(api, word) == [f"{name}.jpg" for name in names]


def test_a_picture_taken_with_a_camera_is_uploaded(gallery: Gallery, word: str) -> None:
    gallery.open()
    field = gallery.page.locator("header input[capture=environment]")
    field.set_input_files({"name": f"camera-{word}.jpg", "mimeType": "image/jpeg", "buffer": make_photo()})

    gallery.await_picture(f"camera-{word}.jpg")


def test_pictures_are_dragged_into_a_collection(
    gallery: Gallery, api: Api, make_image: Callable[..., str], word: str
) -> None:
    uuids = [make_image(name) for name in ("one", "two")]
    collection = api("POST", "/collections", json={"name": f"Trip {word}"}).json()["data"]["uuid"]
    gallery.open(f"?search={word}")
    for name in ("one", "two"):
        gallery.page.get_by_role("checkbox", name=f"Select {name}-{word}.jpg").check()
    gallery.tile("one").hover()
    gallery.page.mouse.down()
    gallery.page.mouse.move(600, 500, steps=5)
    gallery.page.locator(".place", has_text=f"Trip {word}").hover()
    gallery.page.mouse.up()

    wait_for(
        lambda: [api("GET", f"/images/{uuid}").json()["collectionId"] for uuid in uuids],
        lambda found: found == [collection, collection],
    )
    expect(gallery.page.locator(".shelf")).to_have_count(0)


def test_a_picture_is_enlarged_by_wheel_keyboard_and_fingers(gallery: Gallery, make_image: Callable[..., str]) -> None:
    uuid = make_image("detail")
    gallery.open(f"?image={uuid}")
    page = gallery.page
    picture = page.locator(".zoom img.loaded")
    expect(picture).to_be_visible()

    def measure() -> float:
        return float(page.evaluate("document.querySelector('.zoom img').getBoundingClientRect().width"))

    whole = measure()
    page.keyboard.press("+")
    wait_for(measure, lambda width: width > whole * 1.4)
    page.keyboard.press("0")
    wait_for(measure, lambda width: abs(width - whole) < 1)
    page.locator(".zoom").hover()
    page.mouse.wheel(0, -300)
    wait_for(measure, lambda width: width > whole * 1.4)
    page.locator(".zoom").dblclick()
    wait_for(measure, lambda width: abs(width - whole) < 1)
    page.evaluate(
        """() => {
            const zoom = document.querySelector(".zoom")
            const touch = (name, pointerId, clientX) => zoom.dispatchEvent(new PointerEvent(name,
                {pointerId, clientX, clientY: 300, pointerType: "touch", bubbles: true}))
            zoom.setPointerCapture = () => undefined // these pointers are not the browser's
            touch("pointerdown", 11, 300); touch("pointerdown", 12, 400)
            touch("pointermove", 12, 600); touch("pointerup", 12, 600); touch("pointerup", 11, 300)
        }"""
    )
    wait_for(measure, lambda width: width > whole * 2)


def test_the_order_is_in_the_url(gallery: Gallery, make_image: Callable[..., str], word: str) -> None:
    for name in ("older", "newer"):
        make_image(name)
    gallery.open(f"?search={word}")
    expect(gallery.page.locator("li.tile").first).to_contain_text("newer")
    gallery.page.get_by_role("link", name="Newest first").click()

    expect(gallery.page.locator("li.tile").first).to_contain_text("older")
    expect(gallery.page).to_have_url(re.compile("sort=oldest"))
