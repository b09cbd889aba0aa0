"""Logs have one line for each ended image, causes of failures, and no terminal control sequences."""

import ast
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import requests
from raw_http import exchange
from service import ENVIRONMENT, ROOT, Api, Platform, find_processes, make_photo, wait_for

from infra.local import terminal


def lines_with(platform: Platform, *parts: str) -> list[str]:
    lines = platform.log.read_text(errors="replace").splitlines()
    return [line for line in lines if all(part in line for part in parts)]


def test_every_ended_image_is_logged_once_with_its_duration_and_attempts(platform: Platform, api: Api) -> None:
    good, bad = api.upload(make_photo()), api.upload(b"\xff\xd8\xff no image", "bad.jpg")
    for uuid in (good, bad):
        api.await_end(uuid)

    [succeeded] = wait_for(lambda: lines_with(platform, "image_succeeded", good), bool)
    [failed] = wait_for(lambda: lines_with(platform, "image_failed", bad), bool)
    assert re.search(r"attempts=1 .*ms=\d+", succeeded)
    assert "code=corrupt_image" in failed
    assert "reason=" in failed


def test_a_request_that_fails_in_an_outage_is_logged_with_its_cause(platform: Platform, api: Api) -> None:
    stores = find_processes(platform, name="weed")
    for store in stores:
        store.send_signal(signal.SIGSTOP)
    try:
        url = f"{api.base}/images/actions/upload"
        response = requests.post(url, files={"file": ("a.jpg", make_photo(), "image/jpeg")}, timeout=60)
    finally:
        for store in stores:
            store.send_signal(signal.SIGCONT)

    assert response.status_code == 503
    assert "Timeout" not in response.text
    wait_for(lambda: lines_with(platform, "request_not_served", "cause=", "ReadTimeoutError"), bool)


def test_probes_are_not_logged_at_the_start(platform: Platform) -> None:
    start, _, _ = platform.log.read_text(errors="replace").partition("Ready after")

    assert "/api/health" not in start


def test_every_message_of_the_event_sources_has_a_time_in_the_log(platform: Platform) -> None:
    messages = [line for line in lines_with(platform, "eventing │") if re.search(r"\[[A-Z]+ *\] ", line)]

    assert messages  # a connection that Kafka closed adds the lines of a traceback, which have none
    assert all(re.search(r"│ \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", line) for line in messages)


def test_the_log_has_what_a_delivery_was_asked_for_without_what_permits_it(platform: Platform) -> None:
    paths = (
        "i/secret/w=1/x-{0}.jpg",
        "imgproxy/secret/w:1/plain/http:%2F%2Fx-{0}%3Fsecret",
        "thumbor/secret/1x1/x-{0}",
    )
    mark = uuid4()
    for path in paths:
        requests.get(f"{platform.url}/{path.format(mark)}", timeout=30)

    lines = wait_for(lambda: lines_with(platform, f"{mark}", "path="), lambda lines: len(lines) == len(paths))

    assert {path.strip("'") for each in lines for path in re.findall(r"path=(\S+)", each)} == {
        f"/i/***/w=1/x-{mark}.jpg",
        f"/imgproxy/***/w:1/plain/http://x-{mark}",
        f"/thumbor/***/1x1/x-{mark}",
    }


def test_no_form_of_a_deliverys_path_has_its_signature_or_token_logged(platform: Platform) -> None:
    forms = (
        "/i/{0}/w=1/x.jpg/",
        "//i/{0}/w=1/x.jpg",
        "/i//{0}/w=1/x.jpg",
        "/i/{0}/w=1/x.jpg/more",
        "/i/{0}",
        "/i%2F{0}%2Fw=1%2Fx.jpg%2F",
        "/I/{0}/w=1/x.jpg",
        "/x/../i/{0}/w=1/x.jpg/",
        "/imgproxy//{0}/w:1/plain/x",
        "/imgproxy/{0}",
        "/imgproxy/x/plain/http://x%253F{0}",
        "/thumbor//{0}/1x1/x",
        "/api/v1/i/{0}/w=1/x.jpg",
    )
    secret, mark = f"k1.{uuid4().hex}", f"/{uuid4()}"
    url = urlsplit(platform.url)
    for form in forms:
        sent = form.format(secret)
        exchange((url.hostname or "", url.port or 80), f"GET {sent} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    requests.get(f"{platform.url}{mark}", timeout=30)
    wait_for(lambda: lines_with(platform, mark), bool)

    assert lines_with(platform, secret) == []


LOGGING = """
import functions_framework
load = lambda name: functions_framework.create_app("main", f"functions/{name}/main.py").test_client()
trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
load("get_image").get("/api/v1/images/x?secret=1", headers=trace)
event = {"ce-specversion": "1.0", "ce-id": "the-event", "ce-source": "/test", "ce-type": "test"}
event |= {f"ce-{name}": value for name, value in trace.items()}
load("record_dead_letter").post("/", json={"filename": "secret.jpg"}, headers=event)
"""


def test_lines_are_json_with_the_documented_fields(platform: Platform) -> None:
    environ = ENVIRONMENT | platform.environment | {"LOG_FORMAT": "json", "LOG_LEVEL": "debug"}
    done = subprocess.run(
        [sys.executable, "-c", LOGGING], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    documented = (ROOT / "docs/logs.md").read_text()

    request, letter = map(json.loads, done.stderr.splitlines())

    assert (request["event"], request["level"], request["function"]) == ("request", "info", "get_image")
    assert (request["method"], request["path"], request["status"]) == ("GET", "/api/v1/images/x", 400)
    assert (letter["event"], letter["level"]) == ("dead_letter_recorded", "warning")
    assert (letter["function"], letter["cloud_event"]) == ("record_dead_letter", "the-event")
    for line in (request, letter):
        assert line["trace"] == "0af7651916cd43dd8448eb211c80319c"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])
        assert [name for name in line if f"`{name}`" not in documented] == []
    assert "secret" not in done.stderr


PROBES = """
import functions_framework
client = functions_framework.create_app("main", "functions/get_health/main.py").test_client()
for _ in range(250):
    assert client.get("/api/health/live").status_code == 200
assert client.get("/api/health/x").status_code == 404
"""


def test_one_in_a_hundred_successful_probes_is_logged_and_each_that_fails(platform: Platform) -> None:
    environ = ENVIRONMENT | platform.environment | {"LOG_FORMAT": "json"}
    done = subprocess.run(
        [sys.executable, "-c", PROBES], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )

    lines = list(map(json.loads, done.stderr.splitlines()))

    assert [(line["status"], line.get("sampled")) for line in lines] == [(200, 100), (200, 100), (404, None)]


LEVELS = ("debug", "info", "warning", "error", "exception")
COMMANDS = ("bootstrap.py", "probe.py")
"""Their lines are for the operator who runs them."""


def read_log_calls() -> Iterator[tuple[str, str]]:
    """Yield each constant event that the code logs, with each of its fields, or an empty one."""
    for path in [*(ROOT / "shared_lib").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]:
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or path.name in COMMANDS:
                continue
            name = ast.unparse(call.func).rpartition(".")
            place = 1 if name[2] == "log_failure" else 0 if name[0] == "log" and name[2] in LEVELS else None
            if place is not None and len(call.args) > place and isinstance(event := call.args[place], ast.Constant):
                for field in ("", *(keyword.arg or "" for keyword in call.keywords)):
                    yield str(event.value), field


def test_every_event_and_field_is_documented() -> None:
    documented = (ROOT / "docs/logs.md").read_text()
    logged = set(read_log_calls())

    assert len(logged) > 80
    assert [event for event, _ in logged if f"`{event}`" not in documented] == []
    assert [each for each in logged if each[1] not in ("", "exc_info") and f"`{each[1]}`" not in documented] == []


ESCAPES = """
from shared_lib import observability
observability.configure("info", "console")
observability.get_logger().info("request", path="/\\x1b]0;owned\\x07\\x9b31m\\nsecond line")
"""


def test_the_console_log_escapes_terminal_control_sequences() -> None:
    command = [sys.executable, "-c", ESCAPES]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stderr

    assert r"\x1b]0;owned\x07\x9b31m\x0asecond line" in written.replace("\\\\", "\\")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", written)


def test_the_supervisor_escapes_terminal_control_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.relay("api", "GET /\x1b]0;owned\x07")

    assert capsys.readouterr().out.endswith("GET /\\x1b]0;owned\\x07\n")
