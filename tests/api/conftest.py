"""A browser, and addresses for raw requests: the whole API, one function as in its container, nginx in front of it."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import browser
import pytest
from gallery import RECORD_VIOLATIONS, Gallery
from nginx import BACKENDS, Names, run_edge
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from service import ROOT, Api, Deliver, Platform, make_photo, serve_function

from shared_lib.events import ProcessingRequested
from shared_lib.runtime import Runtime

Address = tuple[str, int]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, which `make test` installs."""
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=browser.find_program(), args=browser.OPTIONS) as launched,
    ):
        yield launched


@pytest.fixture(scope="session")
def gateway(platform: Platform) -> Address:
    url = urlsplit(platform.url)
    return url.hostname or "", url.port or 80


@pytest.fixture(scope="session")
def single_function(platform: Platform) -> Iterator[Address]:
    """Serve `list_images` with nothing in front of it."""
    with serve_function(platform, "list_images") as port:
        yield "127.0.0.1", port


@pytest.fixture(scope="session")
def nginx_edge(single_function: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """Run nginx as Compose does, with that function behind all routes."""
    with Names() as names:
        names.address, port = single_function
        folder = tmp_path_factory.mktemp("edge") / "nginx"
        hosts = ROOT / "infra/compose/hosts-anonymous.conf"
        with run_edge(folder, BACKENDS["compose"], backend_port=port, dns_port=names.port, hosts=hosts) as url:
            yield "127.0.0.1", urlsplit(url).port or 0


@pytest.fixture(params=["gateway", "single_function"])
def server(request: pytest.FixtureRequest) -> Address:
    found: Address = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["gateway", "single_function", "nginx_edge"])
def address(request: pytest.FixtureRequest) -> Address:
    found: Address = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    with chromium.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce") as context:
        context.add_init_script(RECORD_VIOLATIONS)
        yield context


@pytest.fixture
def gallery(context: BrowserContext, platform: Platform) -> Iterator[Gallery]:
    """The gallery. Afterwards nothing may have violated its policy, failed in its script, or left its host."""
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(f"{error}"))
    page.on("dialog", lambda dialog: failures.append(f"dialog: {dialog.message}"))
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("?")[0]))
    yield Gallery(page, platform.url)
    assert page.evaluate("violations") == []
    assert failures == []
    own = (platform.url, platform.environment["S3_ENDPOINT_URL"], "data:", "blob:")
    assert [url for url in hosts if not url.startswith(own)] == []


@pytest.fixture
def word() -> str:
    """A word that occurs in the names of one test's images only."""
    return f"w{uuid4().hex[:12]}"


@pytest.fixture
def make_image(api: Api, word: str) -> Callable[..., str]:
    def make(name: str, **form: str) -> str:
        uuid = api.upload(make_photo(), f"{name}-{word}.jpg", **form)
        assert api.await_end(uuid)["status"] == "succeeded"
        return uuid

    return make


@pytest.fixture
def letter(rt: Runtime, deliver: Deliver, word: str) -> Iterator[str]:
    """Record a dead letter, and return the beginning of the uuid that it names."""
    image = f"{uuid4()}"
    attributes = {"id": word, "knativeerrorcode": "503"}
    assert deliver("record_dead_letter", ProcessingRequested.type, {"uuid": image}, **attributes) == 200
    yield image[:8]
    with rt.database.transaction() as tx:
        tx.rows("DELETE FROM dead_letters WHERE event_id = :id", id=word)
