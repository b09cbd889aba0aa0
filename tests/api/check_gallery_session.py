"""A user's whole session in the gallery, by mouse and then by keyboard alone, while the API is killed.

Run by `make test-gallery`. The tests have each part of it alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from gallery import SECONDS, Gallery
from playwright.sync_api import Locator, Page, expect
from service import Api, Platform, find_processes, make_photo, wait_for

from shared_lib.runtime import Runtime

GOOD, BROKEN = 25, 3
FOCUSED = "(element) => element === document.activeElement"
RECORD_WAITING = """
globalThis.waiting = new Set()
new MutationObserver(() => {
    for (const each of document.querySelectorAll("li.tile.pending .name")) waiting.add(each.innerText)
}).observe(document, {subtree: true, childList: true})
"""


@dataclass
class Mouse:
    """Uses the page with a mouse, and with the keyboard only for texts."""

    page: Page

    def press(self, target: Locator) -> None:
        target.click()

    def fill(self, field: Locator, text: str) -> None:
        field.click()
        field.fill(text)

    def choose(self, field: Locator, label: str) -> None:
        field.select_option(label=label)

    def tick(self, box: Locator) -> None:
        box.click()


@dataclass
class Keyboard:
    """Uses the page with its keys alone: the Tab key leads to everything."""

    page: Page

    def reach(self, target: Locator) -> None:
        for _ in range(300):
            if target.evaluate(FOCUSED):
                return
            self.page.keyboard.press("Tab")
        pytest.fail(f"the Tab key does not lead to {target}")

    def press(self, target: Locator) -> None:
        self.reach(target)
        self.page.keyboard.press("Enter")

    def fill(self, field: Locator, text: str) -> None:
        self.reach(field)
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)

    def choose(self, field: Locator, label: str) -> None:
        self.reach(field)
        self.page.keyboard.type(label)

    def tick(self, box: Locator) -> None:
        self.reach(box)
        self.page.keyboard.press("Space")


def make_files(folder: Path, word: str) -> list[Path]:
    """Write 30 files: photos, damaged ones, a text, and one of 40 MB."""
    contents = {f"photo-{number}-{word}.jpg": make_photo(640, 400 + 10 * number) for number in range(GOOD)}
    contents |= {f"broken-{number}-{word}.jpg": make_photo(300, 200 + number)[:2000] for number in range(BROKEN)}
    contents |= {f"notes-{word}.txt": b"no image", f"large-{word}.bmp": make_photo(4000, 3400, "BMP")}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in contents]


def upload(user: Mouse | Keyboard, gallery: Gallery, platform: Platform, files: Sequence[Path]) -> None:
    """Upload files, and kill the API meanwhile."""
    page = gallery.page
    with page.expect_file_chooser() as chooser:
        user.press(page.get_by_role("button", name="Upload", exact=True))
    chooser.value.set_files(files)
    expect(page.locator("li.upload.processing, li.upload.done").first).to_be_visible(timeout=30 * SECONDS)
    for process in find_processes(platform, module="infra.local.gateway"):
        process.kill()  # the supervisor starts another
    status = page.get_by_role("region", name="Uploads").get_by_role("status")
    expect(status).to_have_text(f"{GOOD + 1} done, {BROKEN + 1} failed", timeout=120 * SECONDS)


def try_collection_rules(user: Mouse | Keyboard, page: Page, word: str) -> None:
    """Make a collection of one picture, take that out, and delete it with one confirmation."""
    user.tick(page.get_by_role("checkbox", name=re.compile("^Select ")).first)
    user.press(page.get_by_role("button", name="Add to collection"))
    dialog = page.get_by_role("dialog", name="Choose a collection")
    expect(dialog).to_contain_text("A picture is in one collection at most")
    user.fill(dialog.get_by_label("Name"), f"Trip {word}")
    user.press(dialog.get_by_role("button", name="Create"))
    expect(dialog).to_have_count(0)
    user.press(page.get_by_role("link", name="Collections", exact=True))
    user.press(page.get_by_role("link", name=f"Trip {word}"))
    expect(page.locator("li.tile")).to_have_count(1)
    user.tick(page.get_by_role("checkbox", name=re.compile("^Select ")).first)
    user.press(page.get_by_role("button", name="Remove from this collection"))
    expect(page.get_by_role("heading", name="This collection is empty")).to_be_visible()
    user.press(page.get_by_role("button", name="Delete collection"))
    user.press(page.get_by_role("dialog").get_by_role("button", name="Delete collection"))
    expect(page.get_by_role("heading", name="Collections", exact=True)).to_be_visible()


def save_preset(user: Mouse | Keyboard, page: Page, word: str) -> None:
    """From a picture to the playground, and from there to a preset."""
    user.press(page.get_by_role("link", name="Try recipes"))
    user.choose(page.get_by_label("Operation", exact=True), "Resize")
    user.press(page.get_by_role("button", name="Add", exact=True))
    user.fill(page.get_by_label("Width"), "90")
    expect(page.locator("figcaption").last).to_contain_text("90 × ", timeout=20 * SECONDS)
    user.fill(page.get_by_label("Name", exact=True), word)
    user.press(page.get_by_role("button", name="Save as preset"))
    expect(page.get_by_text(f"Saved as preset {word}")).to_be_visible(timeout=10 * SECONDS)


def redrive(user: Mouse | Keyboard, page: Page) -> None:
    """Retry from the page for operators what an outage made fail."""
    user.press(page.get_by_role("link", name="Operations"))
    form = page.get_by_role("region", name="Retry what failed")
    user.press(form.get_by_role("button", name="Count"))
    user.press(form.get_by_role("button", name=re.compile(r"Retry \d+ picture")))
    expect(form.get_by_role("status")).to_have_text(re.compile(r"^\d+ pictures? (is|are) retried"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("means", [Mouse, Keyboard])
def test_a_whole_session_succeeds_although_the_api_is_killed_meanwhile(  # noqa: PLR0913, PLR0917  fixtures
    gallery: Gallery,
    api: Api,
    rt: Runtime,
    platform: Platform,
    word: str,
    tmp_path: Path,
    means: type[Mouse | Keyboard],
) -> None:
    page, user = gallery.page, means(gallery.page)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "PUT" else None)
    page.add_init_script(RECORD_WAITING)
    gallery.open()
    upload(user, gallery, platform, make_files(tmp_path, word))
    large = [url for url in sent if "partNumber=" in url]
    assert len({url.partition("?")[0] for url in large}) == 1, "only the large file goes to the store in parts"
    assert len(large) >= 4
    expect(gallery.upload_row(f"notes-{word}.txt")).to_contain_text("Files of this type are not taken")
    expect(gallery.upload_row(f"broken-0-{word}.jpg")).to_contain_text("corrupt")
    user.press(page.get_by_role("button", name="Clear finished"))

    with page.expect_response(lambda response: f"search={word}" in response.url):  # the same pictures were shown before
        user.fill(page.get_by_role("searchbox"), word)
    expect(page.locator("li.tile").first).to_have_attribute("aria-setsize", f"{GOOD + 1}")
    shown = set(page.locator("li.tile.succeeded .name").all_inner_texts())
    assert shown <= set(page.evaluate("[...waiting]")), "each was a placeholder before it was a picture"
    found = api("GET", f"/images?search={word}&status=succeeded&include=none&limit=100").json()
    assert len(found) == len({each["filename"] for each in found}) == GOOD + 1, "nothing is lost, or there twice"

    try_collection_rules(user, page, word)
    user.press(page.get_by_role("link", name="Library", exact=True))
    user.fill(page.get_by_role("searchbox"), word)
    user.press(page.locator("li.tile a").first)
    save_preset(user, page, word)
    assert api("DELETE", f"/presets/{word}").status_code == 200

    lost = found[0]["uuid"]
    with rt.database.transaction() as tx:
        fail = (
            "UPDATE images SET status = 'failed', failure_code = 'worker_lost', failure_message = '' WHERE uuid = :uuid"
        )
        tx.rows(fail, uuid=lost)
    redrive(user, page)
    wait_for(lambda: api("GET", f"/images/{lost}").json()["status"], lambda status: status == "succeeded", seconds=150)
