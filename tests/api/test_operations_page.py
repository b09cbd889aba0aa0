"""The page for operators at /ops/, in a browser, on the real service."""

import re
import signal
from collections.abc import Callable

import accessibility
import pytest
import requests
from gallery import SECONDS, Gallery
from playwright.sync_api import BrowserContext, expect
from service import ROOT, Api, Platform, find_processes, wait_for

from shared_lib.errors import NOT_ITS_OWN_FAULT, FailureCode
from shared_lib.runtime import Runtime

LOST = "worker_lost"


@pytest.fixture
def lost(rt: Runtime, make_image: Callable[..., str]) -> str:
    """An image that failed for a reason outside itself. Its original is there."""
    uuid = make_image("lost")
    with rt.database.transaction() as tx:
        tx.rows(
            "UPDATE images SET status = 'failed', failure_code = :code, failure_message = 'For the test',"
            " completed_at = now() WHERE uuid = :uuid",
            code=LOST,
            uuid=uuid,
        )
    return uuid


def test_operators_see_the_state_of_everything_on_one_page(gallery: Gallery, letter: str) -> None:
    gallery.open("ops/")
    page = gallery.page

    expect(page).to_have_title("Operations · Gallery")
    expect(page.get_by_role("status", name="State of the service")).to_contain_text("could not be delivered")
    dependencies = page.get_by_role("region", name="Dependencies")
    for part in ("Database", "Object store", "Kafka"):
        expect(dependencies.get_by_role("listitem").filter(has_text=part)).to_contain_text("Responds")
    for card in ("Backlog", "Throughput", "Images", "Failures in the last hour", "Drift", "Retry what failed"):
        expect(page.get_by_role("region", name=card).first).to_be_visible()
    expect(page.get_by_role("region", name="Dead letters").last).to_contain_text(letter)
    assert page.evaluate("document.querySelector('.cards').getBoundingClientRect().top") < 250


def test_cards_leave_no_hole_and_cut_nothing_off(gallery: Gallery, rt: Runtime, letter: str) -> None:
    rt.operations.record_run({"failed_original_removed": 12_345}, failed=False)
    gallery.page.set_viewport_size({"width": 1360, "height": 860})
    gallery.open("ops/")
    expect(gallery.page.get_by_role("row").filter(has_text=letter)).to_be_visible()

    cut = "each => each.filter(({scrollWidth, clientWidth}) => scrollWidth > clientWidth).length"
    assert gallery.page.locator(".scroller").evaluate_all(cut) == 0
    boxes = gallery.page.locator(".card").evaluate_all(
        "each => each.map((card) => card.getBoundingClientRect().toJSON())"
    )
    ends = {box["top"]: max(other["right"] for other in boxes if other["top"] == box["top"]) for box in boxes}
    assert len({round(end) for end in ends.values()}) == 1, "every row is full"


def test_the_operations_page_refreshes_itself_unless_it_is_paused(
    gallery: Gallery, make_image: Callable[..., str]
) -> None:
    gallery.page.clock.install()
    gallery.open("ops/")
    succeeded = gallery.page.get_by_role("region", name="Images").locator("dd").first
    expect(succeeded).to_have_text(re.compile("[0-9]"))
    before = succeeded.inner_text()
    make_image("newer")
    gallery.page.clock.run_for(6 * SECONDS)
    expect(succeeded).not_to_have_text(before, timeout=10 * SECONDS)

    gallery.page.get_by_role("button", name="Pause updates").click()
    asked: list[str] = []
    gallery.page.on("request", lambda request: asked.append(request.url))
    gallery.page.clock.run_for(60 * SECONDS)
    gallery.page.wait_for_timeout(SECONDS)
    assert asked == []


def test_failures_are_counted_before_they_are_retried(gallery: Gallery, api: Api, lost: str) -> None:
    gallery.open("ops/")
    form = gallery.page.get_by_role("region", name="Retry what failed")
    for code in NOT_ITS_OWN_FAULT:
        expect(form.get_by_role("checkbox", name=code)).to_be_checked()
        if code != LOST:
            form.get_by_role("checkbox", name=code).uncheck()
    form.get_by_role("button", name="Count").click()
    expect(form.get_by_role("status")).to_have_text(re.compile(r"^\d+ pictures? would be retried"))
    assert api("GET", f"/images/{lost}").json()["status"] == "failed"

    form.get_by_role("button", name=re.compile(r"Retry \d+ picture")).click()
    expect(form.get_by_role("status")).to_have_text(re.compile(r"^\d+ pictures? (is|are) retried"))
    wait_for(lambda: api("GET", f"/images/{lost}").json()["status"], lambda status: status != "failed")
    form.get_by_role("button", name="Count").click()
    expect(form.get_by_role("status")).to_have_text("Nothing failed with these reasons.")


def test_a_dead_letter_is_discarded_with_a_second_click(gallery: Gallery, letter: str) -> None:
    gallery.open("ops/")
    row = gallery.page.get_by_role("row").filter(has_text=letter)
    row.get_by_role("button", name="Discard").press("Enter")
    row.get_by_role("button", name="Really discard?").press("Enter")

    expect(row).to_have_count(0)
    expect(gallery.page.locator(".dead-letters")).to_be_focused()


def test_an_outage_leaves_the_last_state_on_the_page_and_ends_by_itself(gallery: Gallery) -> None:
    gallery.page.clock.install()
    gallery.open("ops/")
    state = gallery.page.get_by_role("status", name="State of the service")
    expect(gallery.page.get_by_role("region", name="Backlog")).to_be_visible()
    gallery.page.context.set_offline(True)
    gallery.page.clock.run_for(6 * SECONDS)
    expect(state).to_contain_text("cannot be reached", timeout=10 * SECONDS)
    expect(gallery.page.get_by_role("region", name="Backlog")).to_be_visible()
    gallery.page.context.set_offline(False)

    gallery.page.clock.run_for(6 * SECONDS)
    expect(state).not_to_contain_text("cannot be reached", timeout=10 * SECONDS)


def test_a_dependency_that_does_not_respond_is_named_until_it_is_back(gallery: Gallery, platform: Platform) -> None:
    [broker] = find_processes(platform, name="tansu")
    broker.send_signal(signal.SIGSTOP)
    try:
        gallery.open("ops/")
        state = gallery.page.get_by_role("status", name="State of the service")
        parts = gallery.page.get_by_role("region", name="Dependencies").get_by_role("listitem")
        expect(state).to_contain_text("Out of reach: Kafka.", timeout=20 * SECONDS)
        expect(parts.filter(has_text="Kafka")).to_contain_text(re.compile("does not respond|out of reach"))
        expect(parts.filter(has_text="Database")).to_contain_text("Responds")
    finally:
        broker.send_signal(signal.SIGCONT)

    expect(parts.filter(has_text="Kafka")).to_contain_text("Responds", timeout=20 * SECONDS)
    expect(state).not_to_contain_text("Out of reach")


def test_who_may_not_see_the_state_is_told_which_permission_is_missing(
    context: BrowserContext, guarded: Platform, make_key: Callable[..., str], admin_key: str
) -> None:
    gallery = Gallery(context.new_page(), guarded.url)
    gallery.open("ops/")
    dialog = gallery.page.get_by_role("dialog", name="Sign in")
    for key, heading in ((make_key("viewer"), "This page is for operators"), (admin_key, "Dead letters")):
        dialog.get_by_label("API key or token").fill(key)
        dialog.get_by_role("button", name="Sign in").click()
        expect(gallery.page.get_by_role("heading", name=heading)).to_be_visible()
        if key != admin_key:
            expect(gallery.page.get_by_role("main")).to_contain_text("operations:read")
            assert gallery.find_violations() == []
            gallery.page.get_by_role("button", name="Use another key").click()
    assert gallery.page.evaluate("violations") == []


@pytest.mark.parametrize(("theme", "language"), [("light", "de"), ("dark", "ar")])
def test_the_operations_page_has_no_accessibility_violation_and_fits_a_phone(
    gallery: Gallery, letter: str, theme: str, language: str
) -> None:
    gallery.choose(theme, language)

    assert accessibility.look_at_operations(gallery, letter) == []
    gallery.page.set_viewport_size({"width": 320, "height": 640})
    assert gallery.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_path_without_its_slash_leads_to_the_operations_page(platform: Platform) -> None:
    response = requests.get(f"{platform.url}/ops", allow_redirects=False, timeout=10)

    assert (response.status_code, response.headers["Location"]) == (308, "/ops/")


def test_the_page_offers_every_code_that_images_fail_with() -> None:
    source = (ROOT / "web/src/operations.ts").read_text()
    outside, other = (
        re.findall(r'"(\w+)"', source.split(f"{name} = [")[1].split("\n]\n")[0])
        for name in ("OUTSIDE_CODES", "OTHER_CODES")
    )

    assert outside == [*NOT_ITS_OWN_FAULT]
    assert {*outside, *other} == {*FailureCode}
