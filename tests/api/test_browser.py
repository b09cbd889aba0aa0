"""Swagger UI in a browser, and pages of other origins that use the API."""

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from issuer import Issuer
from playwright.sync_api import Browser, Locator, Page, Request
from service import Api, Platform, make_photo

from infra.postman import PUT, STORY
from shared_lib.web import openapi

ABOUT_NOTHING_YET = {"get_dead_letter", "get_erasure"}
"""The page knows no ID of what these operations show."""
TRIES_ALL = "SWAGGER_UI_TRIES_ALL" in os.environ
OPERATIONS = {
    operation["operationId"]: operation
    for methods in openapi.load()["paths"].values()
    for operation in methods.values()
}


def find_kind(name: str) -> tuple[str, ...]:
    """Return what decides which form and which response Swagger UI shows for an operation."""
    operation = OPERATIONS[name]
    success = operation["responses"][min(operation["responses"])]
    return *operation.get("requestBody", {}).get("content", ()), "answers", *success.get("content", ())


@pytest.fixture(scope="module")
def page(chromium: Browser) -> Iterator[Page]:
    with chromium.new_page() as page:
        yield page


@pytest.fixture
def requested(page: Page) -> list[Request]:
    """Record every request that the page makes."""
    seen: list[Request] = []
    page.on("request", lambda request: seen.append(request))  # noqa: PLW0108  Playwright marks its listeners
    return seen


class ApiDocs:
    """Swagger UI, tried out by a user who changes none of its defaults. It makes the examples that they need."""

    def __init__(self, page: Page, url: str) -> None:
        self._page = page
        self._url = url

    def load(self) -> None:
        self._page.goto(f"{self._url}/api-docs")
        self._page.locator(".opblock").first.wait_for()

    def operation(self, name: str) -> Locator:
        return self._page.locator(f"#operations-{OPERATIONS[name]['tags'][0]}-{name}")

    def open(self, name: str) -> Locator:
        operation = self.operation(name)
        operation.locator(".opblock-summary-control").click()
        operation.get_by_role("button", name="Execute").wait_for()
        return operation

    def execute(self, operation: Locator) -> str:
        """Execute the operation, and return the status of its response."""
        operation.get_by_role("button", name="Execute").click()
        status = operation.locator(".live-responses-table tbody .response-col_status").first
        status.wait_for()
        return status.inner_text().split()[0]


@pytest.fixture
def docs(page: Page, platform: Platform) -> ApiDocs:
    docs = ApiDocs(page, platform.url)
    docs.load()
    return docs


@pytest.mark.timeout(600)
def test_operations_work_in_swagger_ui_with_their_defaults(
    platform: Platform, api: Api, page: Page, docs: ApiDocs, requested: list[Request]
) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    story = [step.operation for step in STORY if step.operation != PUT]
    assert page.locator(".opblock").count() == len(OPERATIONS) == len({*story, *ABOUT_NOTHING_YET})

    firsts = {find_kind(name): name for name in reversed(story)}
    for name in (*story, "get_dead_letter") if TRIES_ALL else filter({*firsts.values()}.__contains__, story):
        operation = docs.open(name)
        if name == "upload_image":
            operation.locator("input[type=file]").set_input_files(
                {"name": "harbor.jpg", "mimeType": "image/jpeg", "buffer": make_photo()}
            )
        status = docs.execute(operation)
        shown = operation.locator(".live-responses-table .highlight-code, .live-responses-table img").first
        expected = "404" if name in ABOUT_NOTHING_YET else min(OPERATIONS[name]["responses"])
        assert status == expected, f"{name}: {shown.inner_text()}"
        operation.locator(".opblock-summary-control").click()  # a page with many open operations is slow

    assert [each for each in complaints if "404" not in each] == []
    assert {request.url.startswith((platform.url, "data:", "blob:")) for request in requested} == {True}


def test_what_swagger_ui_executes_with_its_defaults_changes_nothing_of_anybody(api: Api, docs: ApiDocs) -> None:
    uuid = api.upload(make_photo(), "mine.jpg")
    collection = api("POST", "/collections", json={"name": "Mine"}).json()["data"]["uuid"]
    api.await_end(uuid)
    assert api("POST", "/presets", json={"recipe": {"name": "hero"}}).status_code == 201
    docs.load()  # what is there by now is the newest
    before = [api("GET", path).json() for path in (f"/images/{uuid}", f"/collections/{collection}", "/presets/hero")]

    for name in (
        *("request_processing", "update_image", "move_images", "delete_images", "delete_image", "erase_image"),
        *("update_collection", "delete_collection", "add_images_to_collection", "save_preset", "delete_preset"),
    ):
        operation = docs.open(name)
        assert docs.execute(operation) == min(OPERATIONS[name]["responses"]), name
        operation.locator(".opblock-summary-control").click()
    after = [api("GET", path).json() for path in (f"/images/{uuid}", f"/collections/{collection}", "/presets/hero")]
    assert after == before
    assert api("DELETE", "/presets/hero").status_code == 200


def test_swagger_ui_asks_for_nothing_before_something_is_executed(
    guarded: Platform, page: Page, requested: list[Request]
) -> None:
    ApiDocs(page, guarded.url).load()
    page.wait_for_load_state("networkidle")

    assert [request.url for request in requested if "/api/v1/" in request.url] == []


def test_swagger_ui_shows_one_file_chooser_and_empty_fields_count_as_absent(docs: ApiDocs) -> None:
    upload = docs.open("upload_image")
    assert upload.locator("input[type=file]").count() == 1
    assert upload.get_by_placeholder("renditions").get_attribute("type") == "text"

    upload.locator("input[type=file]").set_input_files(
        {"name": "harbor.jpg", "mimeType": "image/jpeg", "buffer": make_photo()}
    )
    for field in ("description", "preset", "renditions"):
        upload.get_by_placeholder(field).fill("")
    assert upload.get_by_label("Send empty value").first.is_checked()
    assert docs.execute(upload) == "200"


@pytest.mark.parametrize("scheme", ["apiKey", "bearer"])
def test_authorize_in_swagger_ui_takes_an_api_key_or_a_token(
    guarded: Platform, admin_key: str, trusted_issuer: Issuer, page: Page, scheme: str
) -> None:
    docs = ApiDocs(page, guarded.url)
    docs.load()
    assert docs.execute(docs.open("list_collections")) == "401"

    secret = admin_key if scheme == "apiKey" else trusted_issuer.sign()
    page.get_by_role("button", name="Authorize").click()
    form = page.locator(".auth-container", has_text=f"{scheme} (")
    form.locator("input").fill(secret)
    form.get_by_role("button", name="Apply").or_(form.get_by_role("button", name="Authorize")).click()
    page.locator(".close-modal").click()

    assert docs.execute(docs.open("list_images")) == "200"


def test_swagger_ui_shows_schemas_collapsed(page: Page, docs: ApiDocs) -> None:
    assert page.locator("section.models").count() == 1
    assert page.locator("section.models.is-open").count() == 0


@pytest.fixture
def serve_page(tmp_path: Path) -> Iterator[Callable[[int], str]]:
    """Serve an empty page from another origin on this machine."""
    with ExitStack() as stack:

        def serve(port: int) -> str:
            handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", port), handler))
            threading.Thread(target=server.serve_forever).start()
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}/"

        yield serve


def test_a_page_of_an_allowed_origin_can_upload_both_ways(
    platform: Platform, page: Page, api: Api, serve_page: Callable[[int], str]
) -> None:
    page.goto(serve_page(urlsplit(platform.named_origin).port or 0))
    direct, presigned = page.evaluate(
        """async ([base, bytes]) => {
            const file = new Blob([new Uint8Array(bytes)], {type: "image/jpeg"})
            const form = new FormData()
            form.append("file", file, "from-a-page.jpg")
            const direct = await (await fetch(`${base}/images/actions/upload`, {method: "POST", body: form})).json()
            const ticket = await (await fetch(`${base}/images/actions/upload-url?extension=jpg`)).json()
            const stored = await fetch(ticket.presignedUrl, {method: "PUT", body: file})
            if (stored.status !== 200) throw new Error(`the store returned ${stored.status}`)
            return [direct.data.uuid, ticket.uuid]
        }""",
        [api.base, list(make_photo())],
    )

    for uuid in (direct, presigned):
        assert api.await_end(uuid)["status"] == "succeeded"


def test_a_page_of_any_other_origin_can_only_show_renditions(
    platform: Platform, page: Page, api: Api, serve_page: Callable[[int], str]
) -> None:
    uuid = api.upload(make_photo())
    api.await_end(uuid)
    before = int(api("GET", "/images?status=all").headers["X-Total-Count"])
    page.goto(serve_page(0))
    stopped, width = page.evaluate(
        """async ([base, uuid]) => {
            const form = new FormData()
            form.append("file", new Blob([1, 2, 3], {type: "image/jpeg"}), "from-a-page.jpg")
            const stopped = []
            for (const [path, options] of [
                ["/images", {}],
                ["/images", {mode: "no-cors"}],
                ["/images/" + uuid, {method: "DELETE"}],
                ["/images/actions/upload", {method: "POST", body: form}],
            ]) await fetch(base + path, options).catch(() => stopped.push(path))
            await fetch(`${base}/images/actions/upload`, {method: "POST", body: form, mode: "no-cors"}).catch(() => {})
            const picture = new Image()
            picture.src = `${base}/images/${uuid}/renditions/thumbnail`
            await picture.decode()
            return [stopped.length, picture.naturalWidth]
        }""",
        [api.base, uuid],
    )

    assert stopped == 4
    assert width == 100
    assert int(api("GET", "/images?status=all").headers["X-Total-Count"]) == before
    assert api("GET", f"/images/{uuid}").status_code == 200
