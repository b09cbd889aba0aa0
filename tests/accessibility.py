"""The gallery's pages, each in the states that a user meets. Each function returns what axe-core finds there."""

from uuid import uuid4

from gallery import Gallery
from playwright.sync_api import expect
from service import Api

DIALOGS = {
    ".details .palette": ".details header button:has(.icon-share)",
    "li.tile img.loaded": ".bar .danger",
    ".album": ".bar .button",
}
"""Buttons that open a dialog, by what shows that their page is there."""


def look_at_library(gallery: Gallery, api: Api, uuid: str) -> list[str]:
    """Look at lists that are full and empty, at collections, at an image, at uploads, and at a dialog."""
    word = f"w{uuid4().hex[:12]}"
    made = api("POST", "/collections", json={"name": word}).json()["data"]["uuid"]
    api("POST", f"/collections/{made}/relationships/images", json={"data": [{"type": "images", "uuid": uuid}]})
    page = gallery.page
    found: list[str] = []
    for query, shown in {
        "": "li.tile.succeeded",
        "?filter=failed": "main h1",
        f"?search={word}": ".empty",
        "?view=collections": ".album",
        f"?image={uuid}": ".details .palette",
        f"?collection={made}": "li.tile img.loaded",
    }.items():
        gallery.open(query)
        page.locator(shown).first.wait_for()
        found += gallery.find_violations()
        if opener := DIALOGS.get(shown):
            page.locator(opener).click()
            page.locator(".modal").wait_for()
            found += gallery.find_violations()
            page.keyboard.press("Escape")

    gallery.choose_files(**{f"more-{word}_txt": b"no image"})
    expect(page.locator("li.upload.refused")).to_have_count(1)
    page.locator("li.tile input").first.check()
    page.locator(".selection").wait_for()
    found += gallery.find_violations()
    page.locator(".selection button").first.click()
    page.get_by_role("dialog").wait_for()
    return found + gallery.find_violations()


def look_at_playground(gallery: Gallery, uuid: str) -> list[str]:
    """Look at the controls of some operations, and at all options of the output."""
    gallery.open(f"?view=playground&image={uuid}")
    for kind in ("resize", "text", "duotone", "grayscale"):
        gallery.page.locator("#kind").select_option(kind)
        gallery.page.locator(".recipe form button").click()
    gallery.page.locator("summary").click()
    expect(gallery.page.locator("figure.making")).to_have_count(0)
    found = gallery.find_violations()
    gallery.page.locator(".bar .button").click()
    gallery.page.locator(".modal .similar").wait_for()
    found += gallery.find_violations()
    gallery.page.keyboard.press("Escape")
    return found


def look_at_operations(gallery: Gallery, letter: str) -> list[str]:
    """Look at the page with a dead letter, on a large screen and on a phone."""
    page = gallery.page
    gallery.open("ops/")
    expect(page.get_by_role("row").filter(has_text=letter)).to_be_visible()
    page.locator(".bar button").click()  # it pauses updates: axe-core errs about what moves meanwhile
    size = page.viewport_size
    found = gallery.find_violations()
    page.set_viewport_size({"width": 320, "height": 640})
    found += gallery.find_violations()
    page.set_viewport_size(size or {"width": 1280, "height": 800})
    return found
