"""The gallery's queue of uploads, in a browser, on the real service."""

import re
from collections.abc import Callable

import pytest
from gallery import SECONDS, Gallery
from playwright.sync_api import expect
from service import Api, Platform, find_processes, make_photo, wait_for

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
