"""What a browser makes of it: Swagger UI, and a page of another origin that uploads."""

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, sync_playwright
from service import Api, Platform, make_photo


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of Debian's Chromium; `make test` installs it."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "no Chromium on the PATH: install it (Debian: apt install chromium)"
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=options) as browser:
        yield browser.new_page()


@pytest.fixture
def asked(page: Page) -> list[Request]:
    """Every request that the page makes."""
    seen: list[Request] = []
    page.on("request", lambda request: seen.append(request))  # noqa: PLW0108  Playwright marks its listeners
    return seen


def test_swagger_ui_shows_every_operation_and_tries_them_out(
    platform: Platform, page: Page, asked: list[Request]
) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)

    page.goto(f"{platform.url}/api-docs")
    page.locator(".opblock").first.wait_for()
    assert page.locator(".opblock").count() == 18

    operation = page.locator("#operations-images-list_images")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Execute").click()
    operation.locator(".live-responses-table .response-col_status").first.wait_for()
    assert "200" in operation.locator(".live-responses-table tbody .response-col_status").first.inner_text()

    create = page.locator("#operations-collections-create_collection")
    create.locator(".opblock-summary-control").click()
    create.get_by_role("button", name="Execute").click()
    create.locator(".live-responses-table .response-col_status").first.wait_for()
    assert "201" in create.locator(".live-responses-table tbody .response-col_status").first.inner_text()

    assert complaints == []
    assert {request.url.startswith((platform.url, "data:", "blob:")) for request in asked} == {True}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[str]:
    """Another origin on this machine, with an empty page."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_page_of_another_origin_uploads_both_ways(page: Page, api: Api, elsewhere: str) -> None:
    page.goto(elsewhere)
    direct, presigned = page.evaluate(
        """async ([base, bytes]) => {
            const file = new Blob([new Uint8Array(bytes)], {type: "image/jpeg"})
            const form = new FormData()
            form.append("file", file, "from-a-page.jpg")
            const direct = await (await fetch(`${base}/images/actions/upload`, {method: "POST", body: form})).json()
            const ticket = await (await fetch(`${base}/images/actions/upload-url?extension=jpg`)).json()
            const stored = await fetch(ticket.presignedUrl, {method: "PUT", body: file})
            if (stored.status !== 200) throw new Error(`the store answered ${stored.status}`)
            return [direct.data.uuid, ticket.uuid]
        }""",
        [api.base, list(make_photo())],
    )

    for uuid in (direct, presigned):
        assert api.await_end(uuid)["status"] == "succeeded"
