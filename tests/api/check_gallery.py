"""Measure the gallery with many images: Lighthouse's scores, and how smoothly it scrolls. Run by `make test-gallery`.

Nothing else should run on the machine. Without a GPU, its processors also draw what a GPU would.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import browser
import pytest
import requests
from gallery_rows import copy_pictures, upload_pictures
from playwright.sync_api import Browser, CDPSession, Page
from service import ROOT, Api, Platform, start_platform

NODE_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
SPEED = 3_000  # pixels a second: 12 rows, or 50 images
SECONDS = 8
CATEGORIES = ["disabled-by-default-devtools.timeline.frame", "devtools.timeline.frame", "devtools.timeline", "toplevel"]
# Scroll to the end again and again, until so many images are in the list.
LOAD = """
async (count) => {
    const loaded = () => Number(document.querySelector("li.tile:last-child").ariaPosInSet)
    while (loaded() < count) {
        scrollTo(0, document.documentElement.scrollHeight)
        await new Promise(requestAnimationFrame)
    }
}
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Run a service of its own with 1,000 images."""
    running = start_platform(tmp_path_factory.mktemp("filled"))
    with requests.Session() as session:
        upload_pictures(Api(f"{running.url}/api/v1", session))
    copy_pictures(running, range(1, 1_001))
    yield running
    assert running.stop() == 0


@pytest.mark.parametrize("device", ["desktop", "mobile"])
def test_lighthouse_gives_the_grid_its_points(filled: Platform, device: str) -> None:
    command = ["node", "run.mjs", f"{filled.url}/", device]
    environ = os.environ | {"PATH": NODE_PATH, "CHROME_PATH": browser.find_program()}
    output = subprocess.run(
        command, cwd=ROOT / "tests/lighthouse", env=environ, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    print(f"\n{device}: {output}")
    scores = json.loads(output)["scores"]

    assert (scores["accessibility"], scores["best-practices"]) == (100, 100), output
    assert device == "mobile" or scores["performance"] >= 95, output


@dataclass
class Scrolled:
    """Numbers from a trace of some seconds of scrolling."""

    frames_per_second: float
    """drawn"""
    busy: float
    """Share of the time that the page's main thread used a processor."""
    longest: float
    """Processor time of the longest task of that thread, in seconds."""


def scroll(page: Page, session: CDPSession) -> Scrolled:
    """Turn the wheel evenly upward while Chromium traces itself."""
    events: list[dict[str, Any]] = []
    ends: list[object] = []
    session.on("Tracing.dataCollected", lambda data: events.extend(data["value"]))
    session.on("Tracing.tracingComplete", lambda data: ends.append(data))  # noqa: PLW0108  Playwright marks it
    session.send("Tracing.start", {"traceConfig": {"includedCategories": CATEGORIES}})
    gesture = {"x": 600, "y": 400, "yDistance": SPEED * SECONDS, "speed": SPEED, "gestureSourceType": "mouse"}
    session.send("Input.synthesizeScrollGesture", gesture)
    session.send("Tracing.end")
    while not ends:
        page.wait_for_timeout(50)
    drawn = [each["ts"] for each in events if each["name"] == "DrawFrame"]
    [(thread, _)] = Counter(each["tid"] for each in events if each["name"] == "FunctionCall").most_common(1)
    is_task = "ThreadControllerImpl::RunTask"
    tasks = [each.get("tdur", 0) / 1e6 for each in events if each["tid"] == thread and each["name"] == is_task]
    seconds = (max(drawn) - min(drawn)) / 1e6
    return Scrolled((len(drawn) - 1) / seconds, sum(tasks) / seconds, max(tasks))


def read_memory(session: CDPSession) -> tuple[float, int]:
    """Return the heap that is in use, in MB, and the number of nodes."""
    session.send("HeapProfiler.collectGarbage")
    found = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    return found["JSHeapUsedSize"] / 1e6, int(found["Nodes"])


@pytest.mark.timeout(600)
def test_a_list_of_20000_images_scrolls_smoothly_and_keeps_its_memory(filled: Platform, chromium: Browser) -> None:
    copy_pictures(filled, range(1_001, 20_001))
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.goto(filled.url)
    page.locator("li.tile img.loaded").first.wait_for()
    memory = {}
    for count in (1_000, 10_000, 20_000):
        page.evaluate(LOAD, count)
        memory[count] = read_memory(session)
        found = scroll(page, session)
        print(f"\n{count} images: {found}, {memory[count][0]:.1f} MB, {memory[count][1]} nodes")
        assert found.frames_per_second >= 50
        assert found.busy < 0.5
        assert found.longest < 0.1

    assert max(nodes for _, nodes in memory.values()) < 1_000
    assert (memory[20_000][0] - memory[1_000][0]) / 19_000 < 0.0015, "an image that is not shown takes 1.5 kB at most"
