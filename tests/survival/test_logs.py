"""What an operator reads: one line for each end, causes, and nothing that a terminal would obey."""

import re
import signal
import subprocess
import sys

import pytest
import requests
from service import Api, Platform, find_processes, make_photo, wait_for

from infra.local import terminal


def lines_with(platform: Platform, *parts: str) -> list[str]:
    lines = platform.log.read_text(errors="replace").splitlines()
    return [line for line in lines if all(part in line for part in parts)]


def test_every_image_that_ends_has_one_line_with_its_duration_and_attempts(platform: Platform, api: Api) -> None:
    good, bad = api.upload(make_photo()), api.upload(b"\xff\xd8\xff no image", "bad.jpg")
    for uuid in (good, bad):
        api.await_end(uuid)

    [succeeded] = wait_for(lambda: lines_with(platform, "image_succeeded", good), bool)
    [failed] = wait_for(lambda: lines_with(platform, "image_failed", bad), bool)
    assert re.search(r"attempts=1 .*ms=\d+", succeeded)
    assert "code=corrupt_image" in failed
    assert "reason=" in failed


def test_a_request_that_meets_an_outage_is_logged_with_its_cause(platform: Platform, api: Api) -> None:
    stores = find_processes(platform, name="weed")
    for store in stores:
        store.send_signal(signal.SIGSTOP)
    try:
        url = f"{api.base}/images/actions/upload"
        answer = requests.post(url, files={"file": ("a.jpg", make_photo(), "image/jpeg")}, timeout=60)
    finally:
        for store in stores:
            store.send_signal(signal.SIGCONT)

    assert answer.status_code == 503
    assert "Timeout" not in answer.text
    wait_for(lambda: lines_with(platform, "request_not_served", "cause=", "ReadTimeoutError"), bool)


def test_a_start_is_not_drowned_in_probes(platform: Platform) -> None:
    start, _, _ = platform.log.read_text(errors="replace").partition("Ready after")

    assert "/api/health" not in start


def test_every_line_of_the_event_sources_has_its_time(platform: Platform) -> None:
    lines = lines_with(platform, "eventing │")

    assert lines
    assert all(re.search(r"│ \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", line) for line in lines)


ESCAPES = """
from shared_lib import observability
observability.configure("info", "console")
observability.get_logger().info("request", path="/\\x1b]0;owned\\x07\\x9b31m\\nsecond line")
"""


def test_a_console_shows_what_a_terminal_would_obey() -> None:
    command = [sys.executable, "-c", ESCAPES]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stderr

    assert r"\x1b]0;owned\x07\x9b31m\x0asecond line" in written.replace("\\\\", "\\")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", written)


def test_the_supervisor_shows_what_a_terminal_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.relay("api", "GET /\x1b]0;owned\x07")

    assert capsys.readouterr().out.endswith("GET /\\x1b]0;owned\\x07\n")
