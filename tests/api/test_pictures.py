"""A web page with pictures of several widths and formats, in a browser."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from service import ROOT, Api, Platform, make_photo

THUMBHASH = ROOT / "web/node_modules/thumbhash/thumbhash.js"
WIDTHS = (320, 640, 960)
PAGE = """<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>body {{ margin: 0 }} img {{ width: 100%; height: auto; background-size: cover }}</style>
<p>Before</p>
<picture>{sources}<img id="cat" src="{fallback}" srcset="{srcset}" sizes="100vw" width="1200" height="800" alt="A cat">
</picture>
<p id="after">After</p>
<script>
  globalThis.shift = 0
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => (shift += entry.value)))
    .observe({{ type: "layout-shift", buffered: true }})
</script>
<script type="module">
  import {{ thumbHashToDataURL }} from "./thumbhash.js"
  const hash = Uint8Array.from(atob("{hash}"), (character) => character.charCodeAt(0))
  document.querySelector("#cat").style.backgroundImage = `url(${{thumbHashToDataURL(hash)}})`
</script>
"""


@pytest.fixture(scope="module")
def image(api: Api) -> dict[str, Any]:
    uuid = api.upload(make_photo(1200, 800))
    return api.await_end(uuid)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "thumbhash.js").write_bytes(THUMBHASH.read_bytes())
    return tmp_path


@pytest.fixture
def site(folder: Path) -> Iterator[str]:
    """A site of its own, whose files are in the folder."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=f"{folder}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def write_page(folder: Path, url: str, image: dict[str, Any], formats: list[str]) -> None:
    def srcset(form: str) -> str:
        return ", ".join(f"{url}/i/unsafe/w={width}/{image['uuid']}.{form} {width}w" for width in WIDTHS)

    sources = "".join(
        f'<source type="image/{form}" srcset="{srcset(form)}" sizes="100vw">' for form in formats if form != "jpg"
    )
    fallback = f"{url}/i/unsafe/w=320/{image['uuid']}.jpg"
    page = PAGE.format(sources=sources, fallback=fallback, srcset=srcset("jpg"), hash=image["metadata"]["thumbHash"])
    (folder / "index.html").write_text(page)


def load(page: Page, address: str) -> list[tuple[str, bool]]:
    """Load the page, and return what it shows of the service, and whether each came from the browser's cache."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    received: dict[str, dict[str, Any]] = {}
    cached: set[str] = set()
    session.on("Network.responseReceived", lambda event: received.update({event["requestId"]: event["response"]}))
    session.on("Network.requestServedFromCache", lambda event: cached.add(event["requestId"]))
    page.goto(address)
    page.locator("#cat").evaluate("(image) => image.decode()")
    page.wait_for_function("document.querySelector('#cat').style.backgroundImage")
    session.detach()
    return [
        (response["url"].split("/i/unsafe/")[1], key in cached or bool(response.get("fromDiskCache")))
        for key, response in received.items()
        if "/i/unsafe/" in response["url"]
    ]


@pytest.mark.parametrize(
    ("formats", "viewport", "ratio", "width", "form"),
    [
        (["avif", "webp", "jpg"], 300, 1, 320, "avif"),
        (["avif", "webp", "jpg"], 400, 2, 960, "avif"),
        (["webp", "jpg"], 600, 1, 640, "webp"),
        (["jpg"], 600, 1, 640, "jpg"),
    ],
)
def test_a_browser_takes_the_candidate_that_fits_once_and_nothing_moves(  # noqa: PLR0913, PLR0917  a case
    chromium: Browser,
    platform: Platform,
    folder: Path,
    site: str,
    image: dict[str, Any],
    formats: list[str],
    viewport: int,
    ratio: int,
    width: int,
    form: str,
) -> None:
    write_page(folder, platform.url, image, formats)
    with chromium.new_context(viewport={"width": viewport, "height": 900}, device_scale_factor=ratio) as context:
        page = context.new_page()
        wanted = f"w={width}/{image['uuid']}.{form}"

        assert load(page, site) == [(wanted, False)]
        assert page.evaluate("document.querySelector('#cat').naturalWidth > 0")
        assert page.evaluate("shift") == 0
        assert page.locator("#after").bounding_box() is not None

        assert load(page, site) == [(wanted, True)]
