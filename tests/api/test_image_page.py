"""Actions on one image, and on many, in the gallery."""

from collections.abc import Callable
from pathlib import Path

import pytest
from gallery import SECONDS, Gallery
from playwright.sync_api import expect
from service import Api, make_photo, wait_for

from shared_lib.runtime import Runtime


def test_an_image_is_renamed_and_described_in_place_by_keyboard(
    gallery: Gallery, api: Api, make_image: Callable[..., str], word: str
) -> None:
    uuid = make_image("before")
    page = gallery.page
    gallery.open(f"?search={word}&image={uuid}")
    edit = page.get_by_role("button", name="Rename or describe")
    edit.press("Enter")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.type(f"after-{word}.jpg")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    page.keyboard.type("The new pier")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name=f"after-{word}.jpg")).to_be_visible()
    expect(edit).to_be_focused()
    shown = api("GET", f"/images/{uuid}").json()
    assert (shown["filename"], shown["description"]) == (f"after-{word}.jpg", "The new pier")

    edit.press("Enter")
    page.keyboard.type("never mind")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name=f"after-{word}.jpg")).to_be_visible()
    page.keyboard.press("Escape")
    expect(gallery.tile(f"after-{word}.jpg")).to_have_count(1)


def test_an_original_is_downloaded_under_its_name(gallery: Gallery, api: Api, word: str, tmp_path: Path) -> None:
    photo = make_photo()
    uuid = api.upload(photo, f"Möwe {word}.jpg")
    api.await_end(uuid)
    gallery.open(f"?image={uuid}")
    with gallery.page.expect_download() as download:
        gallery.page.get_by_role("button", name="Download original").click()

    assert download.value.suggested_filename == f"Möwe {word}.jpg"
    download.value.save_as(tmp_path / "original.jpg")
    assert (tmp_path / "original.jpg").read_bytes() == photo


@pytest.fixture
def lost(rt: Runtime, make_image: Callable[..., str]) -> str:
    """An image that failed for a reason outside itself. Its original is there."""
    uuid = make_image("lost")
    with rt.database.transaction() as tx:
        tx.rows(
            "UPDATE images SET status = 'failed', failure_code = 'worker_lost', failure_message = 'For the test',"
            " completed_at = now() WHERE uuid = :uuid",
            uuid=uuid,
        )
        tx.rows(
            "UPDATE processing_attempts SET outcome = 'lost', reason = 'worker_lost' WHERE image_id = :uuid", uuid=uuid
        )
    return uuid


def test_a_failed_image_tells_its_attempts_and_is_tried_again(gallery: Gallery, lost: str) -> None:
    page = gallery.page
    gallery.open(f"?filter=failed&image={lost}")
    attempts = page.locator(".attempts li")
    expect(attempts).to_contain_text("worker lost")
    expect(page.get_by_role("button", name="Download original")).to_have_count(0)
    page.locator(".details .refusal").get_by_role("button", name="Try again").click()

    expect(page.get_by_role("button", name="Download original")).to_be_visible(timeout=30 * SECONDS)
    expect(attempts.first).to_contain_text("Succeeded")
    expect(attempts).to_have_count(2)


def test_a_rendition_that_cannot_be_made_says_why(
    gallery: Gallery, rt: Runtime, make_image: Callable[..., str]
) -> None:
    uuid = make_image("unmarked")
    with rt.database.transaction() as tx:
        tx.rows(
            "INSERT INTO rendition_requests"
            " (tenant_id, image_id, name, recipe_hash, recipe, failure_code, failure_message)"
            " SELECT tenant_id, uuid, 'marked', 'x', '{}', 'watermark_missing', 'For the test' FROM images"
            " WHERE uuid = :uuid",
            uuid=uuid,
        )
    gallery.choose("light", "de")
    gallery.open(f"?image={uuid}")

    expect(gallery.page.locator(".details .refusal")).to_have_text("marked: Das Bild für das Wasserzeichen fehlt.")


def test_a_range_and_the_whole_list_are_selected(gallery: Gallery, make_image: Callable[..., str], word: str) -> None:
    for name in ("d", "c", "b", "a"):
        make_image(name)
    page = gallery.page
    gallery.open(f"?search={word}")
    page.get_by_role("checkbox", name="Select a-").check()
    page.get_by_role("checkbox", name="Select c-").click(modifiers=["Shift"])
    expect(page.get_by_role("checkbox", name="Select b-")).to_be_checked()
    expect(page.get_by_role("checkbox", name="Select d-")).not_to_be_checked()
    page.get_by_role("region", name="3 selected").get_by_role("button", name="All").click()
    expect(page.get_by_role("region", name="4 selected")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+a")

    expect(page.get_by_role("region", name="4 selected")).to_be_visible()


def test_failed_images_are_tried_again_together(gallery: Gallery, api: Api, lost: str, word: str) -> None:
    gallery.open(f"?filter=failed&search={word}")
    gallery.page.get_by_role("checkbox", name="Select lost").check()
    gallery.page.get_by_role("region", name="1 selected").get_by_role("button", name="Try again").click()

    expect(gallery.page.get_by_role("region", name="1 selected")).to_have_count(0)
    assert api.await_end(lost)["status"] == "succeeded"


def test_many_images_are_deleted_and_ordered_in_one_go(
    gallery: Gallery, api: Api, make_image: Callable[..., str], word: str
) -> None:
    uuids = [make_image(name) for name in ("one", "two", "three")]
    page = gallery.page
    gallery.open(f"?search={word}")
    for name in ("one", "two"):
        page.get_by_role("checkbox", name=f"Select {name}-").check()
    page.get_by_role("button", name="Make larger versions").click()
    ordered = f"/images?uuids={','.join(uuids[:2])}"
    wait_for(lambda: [len(each["renditions"]) for each in api("GET", ordered).json()], lambda made: made == [4, 4])

    for name in ("one", "two", "three"):
        page.get_by_role("checkbox", name=f"Select {name}-").check()
    page.get_by_role("region", name="3 selected").get_by_role("button", name="Delete").click()
    page.goto("about:blank")
    wait_for(lambda: api("GET", f"/images?uuids={','.join(uuids)}").json(), lambda left: left == [])
    gallery.open()
